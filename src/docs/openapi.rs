//! OpenAPI 3.1 of every route.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ArrayBuilder, ComponentsBuilder, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, LicenseBuilder, OpenApiBuilder, Ref, RefOr, Required, Response, ResponseBuilder,
    Server,
};

use super::examples::{self, Example};
use super::sections;
use crate::error::AppError;
use crate::http::describe::{Body, Caller, JSON, Route, Text};
use crate::http::fields::{Field, Kind, LENGTH_MAX};

/// Named in responses whose texts have a changing part: regular expressions that those texts fit.
pub const PATTERNS: &str = "x-text-patterns";

const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data";
const HEADER: &str = "token";
const QUERY: &str = "tokenInQuery";

/// What holds for every call.
const ABOUT: &str = "\
青鸟: a chat backend, drop-in for uni-app clients.

- A success is HTTP 200 and `{\"msg\":\"ok\",\"data\":…}`. A failure is `{\"msg\":\"fail\",\"data\":\"<one text>\"}`: 400 where a rule \
  says no, 422 where a parameter is missing or out of bounds, 404, 405, 413, 500 and 503 as in HTTP.
- `askanswer/*` and `uploadAliyun` differ: their successes are `{\"code\":200,\"msg\":\"<text>\",\"data\":…}`, without `data` where \
  an entry is deleted. What a rule or a parameter of `askanswer` says no to is HTTP 200 and \
  `{\"code\":400,\"msg\":\"<one text>\"}`, with the code 404 for an entry that is not there.
- Bodies are JSON or forms, whichever the client prefers. Types are loose: numbers may come as text and text as numbers; \
  unknown fields are ignored; an optional field that does not fit counts as absent.
- The token of a login goes into the header `token`, the query `token`, or the field `token` of a body. A new login ends the \
  old token; after `Token 令牌不合法！` log in again.
- What is pushed is described by `/api-docs/asyncapi.json`.";

/// The document as JSON.
pub fn document() -> Value {
    let mut paths = PathsBuilder::new();
    let mut tags = Vec::new();
    let mut components = ComponentsBuilder::new()
        .schema("Failure", failure())
        .response("Busy", failed("服务繁忙 (the store is away, or the server is overloaded)", &[busy()]))
        .response("Internal", failed("服务器内部错误 (a fault of the server)", &[internal()]))
        .security_scheme(HEADER, SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("token"))))
        .security_scheme(QUERY, SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::new("token"))));
    for section in sections() {
        tags.push(TagBuilder::new().name(section.name).description(Some(section.about)).build());
        for route in &section.routes {
            components = components.schemas_from_iter(route.schemas.iter().cloned());
            if let Some(body) = fields_schema(route) {
                components = components.schema(body_name(route), body);
            }
            let operation = operation(route).tag(section.name);
            paths = paths.path(template(route), PathItem::new(route.method.clone(), operation));
        }
    }
    let info = InfoBuilder::new()
        // Generators make names of packages of it.
        .title("Qingniao")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(LicenseBuilder::new().name("MIT").identifier(Some("MIT")).build()));
    let document = OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new("/")]))
        .paths(paths)
        .components(Some(components.build()))
        .tags(Some(tags));
    serde_json::to_value(document.build()).expect("a description is plain data")
}

/// A route's path as OpenAPI writes it.
pub fn template(route: &Route) -> String {
    route.path.replace("{*", "{")
}

/// A name that no other route has: its path in one word.
pub fn name(route: &Route) -> String {
    let path = route.path.strip_prefix("/api/").unwrap_or(route.path);
    let words = path.split('/').filter(|part| !part.is_empty() && !part.starts_with('{'));
    let name = words.collect::<Vec<_>>().join("_");
    if name != "public" {
        return name;
    }
    // By itself it is a keyword of many languages.
    format!("{name}_{}", if route.path.contains('{') { "file" } else { "page" })
}

fn body_name(route: &Route) -> String {
    format!("{}_request", name(route))
}

fn operation(route: &Route) -> OperationBuilder {
    let example = examples::of(route);
    let mut operation = OperationBuilder::new().operation_id(Some(name(route))).summary(Some(route.title));
    if !route.notes.is_empty() {
        operation = operation.description(Some(route.notes.join("\n\n")));
    }
    operation = match route.caller {
        Caller::Anyone => operation.securities(Some([])),
        Caller::Bearer | Caller::User => operation.security(SecurityRequirement::new::<_, _, &str>(HEADER, [])),
    };
    // Every call takes the token in the query too, but some generators would write it into both places, and so into logs.
    let is_picture = route.successes.iter().any(|success| success.schema.is_none());
    if is_picture && route.caller != Caller::Anyone {
        operation = operation.security(SecurityRequirement::new::<_, _, &str>(QUERY, []));
    }
    for (header, what) in &route.headers {
        let text = ObjectBuilder::new().schema_type(Type::String).build();
        let parameter = ParameterBuilder::new().name(*header).parameter_in(ParameterIn::Header);
        operation = operation.parameter(parameter.required(Required::True).description(Some(*what)).schema(Some(text)));
    }
    for field in route.fields.iter().filter(|field| route.in_path(&field.name) || route.body != Body::Fields) {
        operation = operation.parameter(parameter(route, field, example));
    }
    if let Some(body) = body(route, example) {
        operation = operation.request_body(Some(body.build()));
    }
    responses(operation, route, example)
}

fn parameter(route: &Route, field: &Field, example: Option<&Example>) -> ParameterBuilder {
    let in_path = route.in_path(&field.name);
    let place = if in_path { ParameterIn::Path } else { ParameterIn::Query };
    let known = example
        .and_then(|example| if in_path { example.path.get(&field.name) } else { example.query.get(&field.name) });
    ParameterBuilder::new()
        .name(&field.name)
        .parameter_in(place)
        .required(if in_path || field.required { Required::True } else { Required::False })
        .description(about(field))
        .schema(Some(schema(field)))
        .example(known.cloned())
}

/// The shape of a body of fields.
fn fields_schema(route: &Route) -> Option<Schema> {
    let fields: Vec<&Field> = route.fields.iter().filter(|field| !route.in_path(&field.name)).collect();
    if route.body != Body::Fields || fields.is_empty() {
        return None;
    }
    let mut object = ObjectBuilder::new();
    for field in fields {
        object = object.property(&field.name, schema(field));
        if field.required {
            object = object.required(&field.name);
        }
    }
    Some(object.into())
}

fn body(route: &Route, example: Option<&Example>) -> Option<RequestBodyBuilder> {
    if let Body::File(field) = route.body {
        let file =
            ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom("binary".to_owned())));
        let form: Schema = ObjectBuilder::new().property(field, file).required(field).into();
        let content = ContentBuilder::new().schema(Some(form)).build();
        return Some(RequestBodyBuilder::new().content(MULTIPART, content).required(Some(Required::True)));
    }
    fields_schema(route)?;
    let required = route.fields.iter().any(|field| field.required && !route.in_path(&field.name));
    let content = || {
        let shape = Ref::from_schema_name(body_name(route));
        let shown = example.map(|example| Value::Object(example.body.clone()));
        ContentBuilder::new().schema(Some(shape)).example(shown).build()
    };
    let body =
        RequestBodyBuilder::new().content(JSON, content()).content(FORM, content()).content(MULTIPART, content());
    Some(body.required(Some(if required { Required::True } else { Required::False })))
}

fn schema(field: &Field) -> Schema {
    let object = match &field.kind {
        Kind::Text { min, max } => {
            let max = (*max < LENGTH_MAX).then_some(*max).and_then(|max| usize::try_from(max).ok());
            let min = usize::try_from(*min).ok().filter(|min| *min > 0);
            ObjectBuilder::new().schema_type(Type::String).min_length(min).max_length(max)
        }
        Kind::Int { min, max } => {
            let format = SchemaFormat::Custom("int64".to_owned());
            ObjectBuilder::new().schema_type(Type::Integer).format(Some(format)).minimum(Some(*min)).maximum(Some(*max))
        }
        Kind::Word(words) => ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.iter().copied())),
        Kind::Number(numbers) => {
            ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some(numbers.iter().copied()))
        }
        Kind::List => {
            let member = ObjectBuilder::new().schema_type(Type::Integer).build();
            let list = ArrayBuilder::new().items(RefOr::T(Schema::from(member)));
            return list.description(about(field)).into();
        }
        Kind::Any => ObjectBuilder::new().schema_type(SchemaType::AnyValue),
    };
    object.description(about(field)).into()
}

fn about(field: &Field) -> Option<&str> {
    [field.about, field.label.as_str()].into_iter().find(|text| !text.is_empty())
}

fn responses(mut operation: OperationBuilder, route: &Route, example: Option<&Example>) -> OperationBuilder {
    for success in &route.successes {
        let mut response = ResponseBuilder::new().description(success.title);
        for media in success.media {
            let shape = success.schema.clone().unwrap_or_else(|| unparsed(media).into());
            let shown = example.and_then(|example| example.reply.clone()).filter(|_| success.schema.is_some());
            response = response.content(*media, ContentBuilder::new().schema(Some(shape)).example(shown).build());
        }
        operation = operation.response(success.status.to_string(), response.build());
    }
    let mut failures: BTreeMap<u16, Vec<Text>> = BTreeMap::new();
    for (status, text) in route.failures() {
        let texts = failures.entry(status).or_default();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    for (status, texts) in failures {
        let title = match status {
            400 => "被拒绝 (refused by a rule)",
            404 => "不存在 (no such thing)",
            413 => "过大 (too large)",
            _ => "参数错误 (a parameter is missing or out of bounds)",
        };
        operation = operation.response(status.to_string(), failed(title, &texts));
    }
    operation.response("500", Ref::from_response_name("Internal")).response("503", Ref::from_response_name("Busy"))
}

/// A body that is no JSON.
fn unparsed(media: &str) -> Schema {
    let format = (!media.starts_with("text/")).then(|| SchemaFormat::Custom("binary".to_owned()));
    ObjectBuilder::new().schema_type(Type::String).format(format).into()
}

fn failed(title: &str, texts: &[Text]) -> Response {
    let (mut examples, mut patterns) = (Vec::new(), Vec::new());
    for (number, text) in texts.iter().enumerate() {
        let shown = match text {
            Text::Exact(text) => text,
            Text::Like { pattern, example } => {
                patterns.push(Value::from(pattern.as_str()));
                example
            }
        };
        let value = json!({ "msg": "fail", "data": shown });
        examples.push((format!("{number:02}"), ExampleBuilder::new().summary(shown).value(Some(value)).build()));
    }
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Failure"))).examples_from_iter(examples);
    let response = ResponseBuilder::new().description(title).content(JSON, content.build());
    let extensions = (!patterns.is_empty()).then(|| Extensions::from_iter([(PATTERNS, Value::Array(patterns))]));
    response.extensions(extensions).build()
}

/// The envelope of every failure.
pub fn failure() -> Schema {
    let msg = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["fail"]));
    let data = ObjectBuilder::new().schema_type(Type::String).description(Some("What to show to the user."));
    ObjectBuilder::new().property("msg", msg).property("data", data).required("msg").required("data").into()
}

fn busy() -> Text {
    Text::Exact(AppError::busy().to_string())
}

fn internal() -> Text {
    Text::Exact(AppError::internal("").to_string())
}
