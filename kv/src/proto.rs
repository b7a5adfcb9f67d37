//! Messages and stubs of the store's services, generated from
//! `kv/proto/store.proto`.

sealmoot_rpc::include_proto!("sealmoot.kv.v1");
