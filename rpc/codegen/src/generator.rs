//! The text of the stubs.
//!
//! Paths are absolute (`::sealmoot_rpc`, `::core`), so that no message of the
//! schema can shadow them.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use prost_build::{Comments, Method, Service, ServiceGenerator};

use crate::descriptors;
use crate::guard::{Guard, Guards};
use crate::method::method_number;

/// Writes a trait, a server, a client and the method numbers per service.
pub(crate) struct Generator {
    guards: Guards,
    prints: HashMap<String, Prints>,
    strict: HashSet<String>,
}

/// The fingerprints of a service.
#[derive(Clone, Debug)]
pub(crate) struct Prints {
    pub(crate) present: [u8; 32],
    pub(crate) earlier: Vec<[u8; 32]>,
}

impl Generator {
    /// With what the options of methods say, the fingerprints of all services by
    /// full name, and the methods that are strict, by path.
    pub(crate) fn new(
        guards: Guards,
        prints: HashMap<String, Prints>,
        strict: HashSet<String>,
    ) -> Self {
        Self {
            guards,
            prints,
            strict,
        }
    }

    /// How the messages of a method are read.
    fn reading(&self, service: &Service, method: &Method) -> Reading {
        if self.strict.contains(&method_path(service, method)) {
            Reading {
                suffix: "_strict",
                constructor: "strict",
            }
        } else {
            Reading {
                suffix: "",
                constructor: "new",
            }
        }
    }
}

/// Parts of the names of what reads messages.
#[derive(Clone, Copy)]
struct Reading {
    /// Of the functions that decode one.
    suffix: &'static str,
    /// Of the types that take a stream of them.
    constructor: &'static str,
}

impl ServiceGenerator for Generator {
    fn generate(&mut self, service: Service, buffer: &mut String) {
        let written = write_trait(&service, buffer)
            .and_then(|()| write_server(&service, self, buffer))
            .and_then(|()| write_client(&service, self, buffer))
            .and_then(|()| {
                let prints = &self.prints[&path_of(&service)];
                write_numbers(&service, &self.guards, prints, buffer)
            });
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
    writeln!(
        out,
        "    /// Told once when a server that runs this begins to drain: calls that end by
    /// nobody's asking are to end now, or they hold the server up.
    fn draining(&self) {{}}
"
    )?;
    for method in &service.methods {
        write_docs(
            &method.comments,
            1,
            &format!("Answers `{}`.", method_path(service, method)),
            out,
        );
        let (input, output) = (&method.input_type, &method.output_type);
        let request = if method.client_streaming {
            format!("requests: ::sealmoot_rpc::Requests<{input}>")
        } else {
            format!("request: {input}")
        };
        let (replies, output) = if method.server_streaming {
            let replies = format!("\n        replies: ::sealmoot_rpc::Replies<{output}>,");
            (replies, "()")
        } else {
            (String::new(), output.as_str())
        };
        writeln!(
            out,
            "    fn {name}(
        &self,
        context: ::sealmoot_rpc::CallContext,
        {request},{replies}
    ) -> impl ::core::future::Future<
        Output = ::core::result::Result<{output}, ::sealmoot_rpc::Status>,
    > + ::core::marker::Send;",
            name = method.name,
        )?;
    }
    writeln!(out, "}}\n")
}

fn write_server(service: &Service, generator: &Generator, out: &mut String) -> std::fmt::Result {
    let name = &service.name;
    let numbers = numbers_module(service);
    write!(
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

    fn draining(&self) {{
        {name}::draining(&*self.inner);
    }}

    fn descriptor(
        &self,
    ) -> ::core::option::Option<&'static ::sealmoot_rpc::ServiceDescriptor> {{
        ::core::option::Option::Some(&{numbers}::SERVICE)
    }}
"
    )?;
    write_kinds(service, &numbers, out)?;
    for entry in ENTRIES {
        write_entry(service, generator, &numbers, &entry, out)?;
    }
    writeln!(out, "}}\n")
}

/// An entry point of the `Service` trait.
struct Entry {
    name: &'static str,
    client_streaming: bool,
    server_streaming: bool,
}

const ENTRIES: [Entry; 4] = [
    Entry {
        name: "call",
        client_streaming: false,
        server_streaming: false,
    },
    Entry {
        name: "client_stream",
        client_streaming: true,
        server_streaming: false,
    },
    Entry {
        name: "server_stream",
        client_streaming: false,
        server_streaming: true,
    },
    Entry {
        name: "bidirectional",
        client_streaming: true,
        server_streaming: true,
    },
];

impl Entry {
    fn has(&self, method: &Method) -> bool {
        method.client_streaming == self.client_streaming
            && method.server_streaming == self.server_streaming
    }
}

/// The kind, as `sealmoot_rpc::MethodKind` calls it.
fn kind_of(method: &Method) -> &'static str {
    match (method.client_streaming, method.server_streaming) {
        (false, false) => "Unary",
        (true, false) => "ClientStream",
        (false, true) => "ServerStream",
        (true, true) => "Bidirectional",
    }
}

/// Which methods are not unary; nothing where all are.
fn write_kinds(service: &Service, numbers: &str, out: &mut String) -> std::fmt::Result {
    if service.methods.iter().all(|method| ENTRIES[0].has(method)) {
        return Ok(());
    }
    writeln!(
        out,
        "
    fn kind(&self, method: u64) -> ::sealmoot_rpc::MethodKind {{
        match method {{"
    )?;
    for method in &service.methods {
        if ENTRIES[0].has(method) {
            continue;
        }
        writeln!(
            out,
            "            {numbers}::{constant} => ::sealmoot_rpc::MethodKind::{kind},",
            constant = constant_of(method),
            kind = kind_of(method),
        )?;
    }
    writeln!(
        out,
        "            _ => ::sealmoot_rpc::MethodKind::Unary,
        }}
    }}"
    )
}

/// One entry point with the methods of its kind. The trait's own refuses, so
/// one without methods is left out where the trait has one.
fn write_entry(
    service: &Service,
    generator: &Generator,
    numbers: &str,
    entry: &Entry,
    out: &mut String,
) -> std::fmt::Result {
    let methods: Vec<&Method> = service
        .methods
        .iter()
        .filter(|method| entry.has(method))
        .collect();
    let is_unary = !entry.client_streaming && !entry.server_streaming;
    if methods.is_empty() {
        return if is_unary {
            write_no_unary(out)
        } else {
            Ok(())
        };
    }
    let (parameter, parameter_type) = if entry.client_streaming {
        ("requests", "::sealmoot_rpc::RawRequests")
    } else {
        ("body", "::sealmoot_rpc::bytes::Bytes")
    };
    let (replies, future, refuse) = if entry.server_streaming {
        (
            "\n        replies: ::sealmoot_rpc::RawReplies,",
            "::sealmoot_rpc::StreamFuture",
            "refuse_stream",
        )
    } else {
        ("", "::sealmoot_rpc::ReplyFuture", "refuse")
    };
    writeln!(
        out,
        "
    fn {entry_name}(
        &self,
        context: ::sealmoot_rpc::CallContext,
        method: u64,
        {parameter}: {parameter_type},{replies}
    ) -> {future} {{
        match method {{",
        entry_name = entry.name,
    )?;
    for method in methods {
        let reading = generator.reading(service, method);
        write_arm(method, reading, numbers, refuse, out)?;
    }
    let replies = if entry.server_streaming {
        ", replies"
    } else {
        ""
    };
    writeln!(
        out,
        "            _ => {{
                let _ = (context, {parameter}{replies});
                ::sealmoot_rpc::generated::{refuse}(
                    ::sealmoot_rpc::generated::unknown_method(method),
                )
            }}
        }}
    }}"
    )
}

/// The entry point that the trait demands, of a service of streams alone.
fn write_no_unary(out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "
    fn call(
        &self,
        context: ::sealmoot_rpc::CallContext,
        method: u64,
        body: ::sealmoot_rpc::bytes::Bytes,
    ) -> ::sealmoot_rpc::ReplyFuture {{
        let _ = (context, body);
        ::sealmoot_rpc::generated::refuse(
            ::sealmoot_rpc::generated::unknown_method(method),
        )
    }}"
    )
}

/// How one method is started.
fn write_arm(
    method: &Method,
    reading: Reading,
    numbers: &str,
    refuse: &str,
    out: &mut String,
) -> std::fmt::Result {
    let (suffix, constructor) = (reading.suffix, reading.constructor);
    let (name, constant) = (&method.name, constant_of(method));
    let (input, output) = (&method.input_type, &method.output_type);
    let request = if method.client_streaming {
        "requests"
    } else {
        "request"
    };
    let finish = if method.server_streaming {
        format!(
            "let replies = ::sealmoot_rpc::Replies::<{output}>::new(replies);
                            inner.{name}(context, {request}, replies).await"
        )
    } else {
        format!(
            "::core::result::Result::Ok(::sealmoot_rpc::generated::encode(
                                &inner.{name}(context, {request}).await?,
                            ))"
        )
    };
    if method.client_streaming {
        let finish = finish.replace("\n                            ", "\n                    ");
        return writeln!(
            out,
            "            {numbers}::{constant} => {{
                let inner = ::std::sync::Arc::clone(&self.inner);
                ::std::boxed::Box::pin(async move {{
                    let requests = ::sealmoot_rpc::Requests::<{input}>::{constructor}(requests);
                    {finish}
                }})
            }}"
        );
    }
    writeln!(
        out,
        "            {numbers}::{constant} => {{
                match ::sealmoot_rpc::generated::decode_request{suffix}::<{input}>(body) {{
                    ::core::result::Result::Ok(request) => {{
                        let inner = ::std::sync::Arc::clone(&self.inner);
                        ::std::boxed::Box::pin(async move {{
                            {finish}
                        }})
                    }}
                    ::core::result::Result::Err(status) => {{
                        ::sealmoot_rpc::generated::{refuse}(status)
                    }}
                }}
            }}"
    )
}

fn write_client(service: &Service, generator: &Generator, out: &mut String) -> std::fmt::Result {
    let name = &service.name;
    let numbers = numbers_module(service);
    writeln!(
        out,
        "/// Calls `{path}` over a connection, or whatever else makes calls.
#[derive(Clone, Debug)]
pub struct {name}Client<C = ::sealmoot_rpc::Connection> {{
    caller: C,
}}

// Few programs call all that a service has.
#[allow(dead_code)]
impl<C: ::sealmoot_rpc::Caller> {name}Client<C> {{
    /// Calls over `caller`, which other clients may share.
    pub fn new(caller: C) -> Self {{
        Self {{ caller }}
    }}

    /// What is called over.
    pub fn caller(&self) -> &C {{
        &self.caller
    }}",
        path = path_of(service),
    )?;
    for method in &service.methods {
        for form in [Form::Plain, Form::With] {
            writeln!(out)?;
            let path = method_path(service, method);
            let otherwise = format!("Calls `{path}`.");
            write_docs(&method.comments, 1, &otherwise, out);
            let guard = generator.guards.at(&path);
            let reading = generator.reading(service, method);
            write_client_method(method, &numbers, guard, reading, form, out)?;
        }
    }
    writeln!(out, "}}\n")
}

/// A client's method comes twice: with a timeout alone, and with all options.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    With,
}

fn write_client_method(
    method: &Method,
    numbers: &str,
    guard: Guard,
    reading: Reading,
    form: Form,
    out: &mut String,
) -> std::fmt::Result {
    let (suffix, constructor) = (reading.suffix, reading.constructor);
    let (input, output) = (&method.input_type, &method.output_type);
    let constant = constant_of(method);
    let name = match form {
        Form::Plain => method.name.clone(),
        Form::With => with_name(&method.name),
    };
    if form == Form::With {
        writeln!(
            out,
            "    ///\n    /// With metadata beside the request, or whatever the options say."
        )?;
    }
    let (parameter, options) = match form {
        Form::Plain => (
            "timeout: ::core::time::Duration",
            "&::sealmoot_rpc::CallOptions::new(timeout)",
        ),
        Form::With => ("options: &::sealmoot_rpc::CallOptions", "options"),
    };
    if !method.client_streaming && !method.server_streaming {
        let guard = guard.expression();
        return writeln!(
            out,
            "    ///
    /// # Errors
    ///
    /// The status of the call; its execution tells whether it may have had an
    /// effect.
    pub async fn {name}(
        &self,
        request: {input},
        {parameter},
    ) -> ::core::result::Result<{output}, ::sealmoot_rpc::Status> {{
        let body = ::sealmoot_rpc::generated::encode(&request);
        let reply = ::sealmoot_rpc::Caller::call(
            &self.caller,
            {numbers}::{constant},
            {guard},
            body,
            {options},
        )
        .await?;
        ::sealmoot_rpc::generated::decode_reply{suffix}(reply)
    }}"
        );
    }
    let sink = format!("::sealmoot_rpc::RequestSink<{input}>");
    let pending = format!("::sealmoot_rpc::PendingReply<{output}>");
    let stream = format!("::sealmoot_rpc::ReplyStream<{output}>");
    let (request, returned, body) = match (method.client_streaming, method.server_streaming) {
        (true, true) => (
            String::new(),
            format!("(\n            {sink},\n            {stream},\n        )"),
            format!(
                "let (requests, replies) =
            ::sealmoot_rpc::Caller::bidirectional(&self.caller, {numbers}::{constant}, {options})
                .await?;
        ::core::result::Result::Ok((
            ::sealmoot_rpc::RequestSink::new(requests),
            ::sealmoot_rpc::ReplyStream::{constructor}(replies),
        ))"
            ),
        ),
        (true, false) => (
            String::new(),
            format!("(\n            {sink},\n            {pending},\n        )"),
            format!(
                "let (requests, reply) =
            ::sealmoot_rpc::Caller::client_stream(&self.caller, {numbers}::{constant}, {options})
                .await?;
        ::core::result::Result::Ok((
            ::sealmoot_rpc::RequestSink::new(requests),
            ::sealmoot_rpc::PendingReply::{constructor}(reply),
        ))"
            ),
        ),
        _ => (
            format!("\n        request: {input},"),
            stream,
            format!(
                "let body = ::sealmoot_rpc::generated::encode(&request);
        let replies = ::sealmoot_rpc::Caller::server_stream(
            &self.caller,
            {numbers}::{constant},
            body,
            {options},
        )
        .await?;
        ::core::result::Result::Ok(::sealmoot_rpc::ReplyStream::{constructor}(replies))"
            ),
        ),
    };
    writeln!(
        out,
        "    ///
    /// Done as soon as there is something to call over; nothing has been sent
    /// yet then.
    ///
    /// # Errors
    ///
    /// Nothing was sent. Later failures come out of the streams.
    pub async fn {name}(
        &self,{request}
        {parameter},
    ) -> ::core::result::Result<
        {returned},
        ::sealmoot_rpc::Status,
    > {{
        {body}
    }}"
    )
}

/// What the function with options is called.
pub(crate) fn with_name(name: &str) -> String {
    format!("{}_with", name.trim_start_matches("r#"))
}

fn write_numbers(
    service: &Service,
    guards: &Guards,
    prints: &Prints,
    out: &mut String,
) -> std::fmt::Result {
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
        "    /// Every method of the service.\n    pub const ALL: [u64; {}] = [{}];",
        all.len(),
        all.join(", ")
    )?;
    write_descriptor(service, guards, prints, out)?;
    writeln!(out, "}}\n")
}

fn write_descriptor(
    service: &Service,
    guards: &Guards,
    prints: &Prints,
    out: &mut String,
) -> std::fmt::Result {
    let earlier = prints.earlier.iter().map(|earlier| {
        let fingerprint = fingerprint_expression(earlier, 3);
        format!("\n            {fingerprint},")
    });
    let mut earlier: String = earlier.collect();
    if !earlier.is_empty() {
        earlier.push_str("\n        ");
    }
    writeln!(
        out,
        "    /// What the service is.
    pub static SERVICE: ::sealmoot_rpc::ServiceDescriptor = ::sealmoot_rpc::ServiceDescriptor {{
        name: \"{path}\",
        fingerprint: {fingerprint},
        earlier: &[{earlier}],
        methods: &[",
        path = path_of(service),
        fingerprint = fingerprint_expression(&prints.present, 2),
    )?;
    for method in &service.methods {
        writeln!(
            out,
            "            ::sealmoot_rpc::MethodDescriptor {{
                name: \"{name}\",
                number: {constant},
                kind: ::sealmoot_rpc::MethodKind::{kind},
                guard: {guard},
            }},",
            name = method.proto_name,
            constant = constant_of(method),
            kind = kind_of(method),
            guard = guards.at(&method_path(service, method)).expression(),
        )?;
    }
    writeln!(
        out,
        "        ],
        file_descriptors: ::core::include_bytes!(\"{file}\"),
    }};",
        file = descriptors::file_name(&service.package),
    )
}

/// Four lines of eight bytes.
fn fingerprint_expression(fingerprint: &[u8; 32], indent_level: usize) -> String {
    let indent = "    ".repeat(indent_level);
    let mut text = "::sealmoot_rpc::binding::Fingerprint::from_bytes([".to_owned();
    for bytes in fingerprint.chunks(8) {
        let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:#04x}")).collect();
        text.push_str(&format!("\n{indent}    {},", bytes.join(", ")));
    }
    text.push_str(&format!("\n{indent}])"));
    text
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
    // A method of that name must not collide with what stands beside the numbers.
    if name == "ALL" || name == "SERVICE" {
        format!("{name}_")
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
