//! The text of the stubs.
//!
//! Paths are absolute (`::sealmoot_rpc`, `::core`), so that no message of the
//! schema can shadow them.

use std::fmt::Write;

use prost_build::{Comments, Method, Service, ServiceGenerator};

use crate::method::method_number;

/// Writes a trait, a server, a client and the method numbers per service.
pub(crate) struct Generator;

impl ServiceGenerator for Generator {
    fn generate(&mut self, service: Service, buffer: &mut String) {
        let written = write_trait(&service, buffer)
            .and_then(|()| write_server(&service, buffer))
            .and_then(|()| write_client(&service, buffer))
            .and_then(|()| write_numbers(&service, buffer));
        written.expect("writing to a string cannot fail");
    }
}

fn write_trait(service: &Service, out: &mut String) -> std::fmt::Result {
    write_docs(
        &service.comments,
        0,
        &format!("What a server of `{}` implements.", path_of(service)),
        out,
    );
    writeln!(
        out,
        "pub trait {}: ::core::marker::Send + ::core::marker::Sync + 'static {{",
        service.name
    )?;
    for method in &service.methods {
        write_docs(
            &method.comments,
            1,
            &format!("Answers `{}`.", method_path(service, method)),
            out,
        );
        writeln!(
            out,
            "    fn {name}(
        &self,
        context: ::sealmoot_rpc::CallContext,
        request: {input},
    ) -> impl ::core::future::Future<
        Output = ::core::result::Result<{output}, ::sealmoot_rpc::Status>,
    > + ::core::marker::Send;",
            name = method.name,
            input = method.input_type,
            output = method.output_type,
        )?;
    }
    writeln!(out, "}}\n")
}

fn write_server(service: &Service, out: &mut String) -> std::fmt::Result {
    let name = &service.name;
    let numbers = numbers_module(service);
    writeln!(
        out,
        "/// Serves a [`{name}`] as a [`Service`](::sealmoot_rpc::Service).
#[derive(Debug)]
pub struct {name}Server<S> {{
    inner: ::std::sync::Arc<S>,
}}

impl<S: {name}> {name}Server<S> {{
    /// Serves `inner`.
    pub fn new(inner: S) -> Self {{
        Self::from_arc(::std::sync::Arc::new(inner))
    }}

    /// Serves what the caller keeps a share of.
    pub fn from_arc(inner: ::std::sync::Arc<S>) -> Self {{
        Self {{ inner }}
    }}
}}

impl<S> ::core::clone::Clone for {name}Server<S> {{
    fn clone(&self) -> Self {{
        Self {{ inner: ::std::sync::Arc::clone(&self.inner) }}
    }}
}}

impl<S: {name}> ::sealmoot_rpc::Service for {name}Server<S> {{
    fn methods(&self) -> &[u64] {{
        &{numbers}::ALL
    }}

    fn call(
        &self,
        context: ::sealmoot_rpc::CallContext,
        method: u64,
        body: ::sealmoot_rpc::bytes::Bytes,
    ) -> ::sealmoot_rpc::ReplyFuture {{
        match method {{"
    )?;
    for method in &service.methods {
        writeln!(
            out,
            "            {numbers}::{constant} => {{
                match ::sealmoot_rpc::generated::decode_request::<{input}>(body) {{
                    ::core::result::Result::Ok(request) => {{
                        let inner = ::std::sync::Arc::clone(&self.inner);
                        ::std::boxed::Box::pin(async move {{
                            let reply = inner.{name}(context, request).await?;
                            ::core::result::Result::Ok(::sealmoot_rpc::generated::encode(&reply))
                        }})
                    }}
                    ::core::result::Result::Err(status) => {{
                        ::sealmoot_rpc::generated::refuse(status)
                    }}
                }}
            }}",
            constant = constant_of(method),
            input = method.input_type,
            name = method.name,
        )?;
    }
    writeln!(
        out,
        "            _ => {{
                let _ = (context, body);
                ::sealmoot_rpc::generated::refuse(
                    ::sealmoot_rpc::generated::unknown_method(method),
                )
            }}
        }}
    }}
}}
"
    )
}

fn write_client(service: &Service, out: &mut String) -> std::fmt::Result {
    let name = &service.name;
    let numbers = numbers_module(service);
    writeln!(
        out,
        "/// Calls `{path}` over a connection.
#[derive(Clone, Debug)]
pub struct {name}Client {{
    connection: ::sealmoot_rpc::Connection,
}}

impl {name}Client {{
    /// Calls over `connection`, which other clients may share.
    pub fn new(connection: ::sealmoot_rpc::Connection) -> Self {{
        Self {{ connection }}
    }}

    /// The connection that is called over.
    pub fn connection(&self) -> &::sealmoot_rpc::Connection {{
        &self.connection
    }}",
        path = path_of(service),
    )?;
    for method in &service.methods {
        writeln!(out)?;
        write_docs(
            &method.comments,
            1,
            &format!("Calls `{}`.", method_path(service, method)),
            out,
        );
        writeln!(
            out,
            "    ///
    /// # Errors
    ///
    /// The status of the call; its execution tells whether it may have had an
    /// effect.
    pub async fn {name}(
        &self,
        request: {input},
        timeout: ::core::time::Duration,
    ) -> ::core::result::Result<{output}, ::sealmoot_rpc::Status> {{
        let body = ::sealmoot_rpc::generated::encode(&request);
        let reply = self.connection.call({numbers}::{constant}, body, timeout).await?;
        ::sealmoot_rpc::generated::decode_reply(reply)
    }}",
            name = method.name,
            input = method.input_type,
            output = method.output_type,
            constant = constant_of(method),
        )?;
    }
    writeln!(out, "}}\n")
}

fn write_numbers(service: &Service, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "/// The methods of `{}` on the wire.\npub mod {} {{",
        path_of(service),
        numbers_module(service)
    )?;
    for method in &service.methods {
        let path = method_path(service, method);
        writeln!(
            out,
            "    /// `{path}`\n    pub const {}: u64 = {:#018x};",
            constant_of(method),
            method_number(&path)
        )?;
    }
    let all: Vec<String> = service.methods.iter().map(constant_of).collect();
    writeln!(
        out,
        "    /// Every method of the service.\n    pub const ALL: [u64; {}] = [{}];\n}}\n",
        all.len(),
        all.join(", ")
    )
}

/// The schema's comment, or a line of ours where it has none.
fn write_docs(comments: &Comments, indent_level: u8, otherwise: &str, out: &mut String) {
    if comments.leading.is_empty() && comments.trailing.is_empty() {
        let indent = "    ".repeat(usize::from(indent_level));
        out.push_str(&format!("{indent}/// {otherwise}\n"));
        return;
    }
    let attached = Comments {
        // A detached comment belongs to no item.
        leading_detached: Vec::new(),
        leading: comments.leading.clone(),
        trailing: comments.trailing.clone(),
    };
    attached.append_with_indent(indent_level, out);
}

fn path_of(service: &Service) -> String {
    format!("{}.{}", service.package, service.proto_name)
}

fn method_path(service: &Service, method: &Method) -> String {
    format!("{}/{}", path_of(service), method.proto_name)
}

fn constant_of(method: &Method) -> String {
    let name = method.name.trim_start_matches("r#").to_uppercase();
    // A method of that name must not collide with the list of all.
    if name == "ALL" {
        "ALL_".to_owned()
    } else {
        name
    }
}

fn numbers_module(service: &Service) -> String {
    let mut name = String::new();
    for character in service.name.chars() {
        if character.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(character.to_lowercase());
    }
    name.push_str("_methods");
    name
}
