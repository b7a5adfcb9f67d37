//! Messages and stubs of the login and directory services, generated from
//! `authn/proto/login.proto`.

sealmoot_rpc::include_proto!("sealmoot.login.v1");
