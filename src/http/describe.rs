//! What a route is, told by the code that serves it: its handler's arguments say who may call and what is read, its reply
//! type what comes back. A feature lists its routes in `describe.rs`; OpenAPI and Postman are made from these lists.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};

use super::fields::{Draft, Field, Kind, LENGTH_MAX, asked_by};
use super::payload::{Params, Payload, malformed};
use crate::error::AppError;

/// JSON, as all replies but pictures and files are.
pub const JSON: &str = "application/json";

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Without a token.
    Anyone,
    /// Whoever has a live token, guests too.
    Bearer,
    /// Registered users.
    User,
}

/// Where the parameters are that no path and no query holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// No body is read.
    None,
    /// JSON, a form, or the plain fields of a multipart form.
    Fields,
    /// A multipart form with a file in this field.
    File(&'static str),
}

/// A text of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// Always the same.
    Exact(String),
    /// Anything that the regular expression fits, as this one.
    Like {
        /// As in ECMA-262, anchored.
        pattern: String,
        /// One that fits.
        example: String,
    },
}

/// A reply that is no failure.
#[derive(Clone, Debug)]
pub struct Success {
    /// HTTP status.
    pub status: u16,
    /// What it is.
    pub title: &'static str,
    /// Media types; none if it has no body.
    pub media: &'static [&'static str],
    /// The shape of a JSON body.
    pub schema: Option<RefOr<Schema>>,
}

/// A described route.
#[derive(Clone, Debug)]
pub struct Route {
    /// GET or POST.
    pub method: HttpMethod,
    /// As in the router.
    pub path: &'static str,
    /// In one line.
    pub title: &'static str,
    /// What else a caller should know.
    pub notes: Vec<&'static str>,
    /// Who may call.
    pub caller: Caller,
    /// Headers that must be there, with what they are.
    pub headers: Vec<(&'static str, &'static str)>,
    /// Parameters in the order in which they are checked.
    pub fields: Vec<Field>,
    /// Where those are that the path does not name.
    pub body: Body,
    /// What it replies where it does not fail.
    pub successes: Vec<Success>,
    /// Whether refusals of its rules and parameters come as successes with a code.
    pub coded: bool,
    failures: Vec<(u16, Text)>,
    /// Named shapes that the replies refer to.
    pub schemas: Vec<(String, RefOr<Schema>)>,
}

/// An argument of a handler: what it takes from a request.
pub trait Argument {
    /// Says so.
    fn tell(_route: &mut Route) {}
}

/// A handler, whose arguments are known.
pub trait Signature<Arguments> {
    /// Lets each argument say what it takes.
    fn tell(route: &mut Route);
}

macro_rules! signature {
    ($($argument:ident)*) => {
        impl<F, Output, $($argument: Argument),*> Signature<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> Output,
        {
            fn tell(route: &mut Route) {
                $($argument::tell(route);)*
            }
        }
    };
}
signature!(A B);
signature!(A B C);
signature!(A B C D);
signature!(A B C D E);

impl<S> Argument for State<S> {}

impl<T> Argument for Option<Extension<T>> {}

impl Argument for Request {}

impl Argument for HeaderMap {}

impl<T: Draft> Argument for Params<T> {
    fn tell(route: &mut Route) {
        route.fields = asked_by::<T>();
    }
}

impl<T: Draft> Argument for Payload<T> {
    fn tell(route: &mut Route) {
        route.fields = asked_by::<T>();
        route.body = Body::Fields;
    }
}

impl Route {
    /// A GET served by this handler.
    pub fn get<Arguments, H: Signature<Arguments>>(path: &'static str, title: &'static str, _: H) -> Self {
        Self::new::<Arguments, H>(HttpMethod::Get, path, title)
    }

    /// A POST served by this handler.
    pub fn post<Arguments, H: Signature<Arguments>>(path: &'static str, title: &'static str, _: H) -> Self {
        Self::new::<Arguments, H>(HttpMethod::Post, path, title)
    }

    fn new<Arguments, H: Signature<Arguments>>(method: HttpMethod, path: &'static str, title: &'static str) -> Self {
        let mut route = Self {
            method,
            path,
            title,
            notes: Vec::new(),
            caller: Caller::Anyone,
            headers: Vec::new(),
            fields: Vec::new(),
            body: Body::None,
            successes: Vec::new(),
            coded: false,
            failures: Vec::new(),
            schemas: Vec::new(),
        };
        H::tell(&mut route);
        if route.method == HttpMethod::Post {
            route.fail(400, malformed().to_string());
            route.fail(413, "请求体过大");
        }
        if path.contains('{') {
            route.fail(404, AppError::NotFound.to_string());
        }
        route
    }

    /// Adds a failure that has one text.
    pub fn fail(&mut self, status: u16, text: impl Into<String>) {
        self.failures.push((status, Text::Exact(text.into())));
    }

    /// What a caller should know beyond the shapes.
    #[must_use]
    pub fn note(mut self, text: &'static str) -> Self {
        self.notes.push(text);
        self
    }

    /// A parameter that the draft asks for in a way that says too little of it.
    #[must_use]
    pub fn field(mut self, field: Field) -> Self {
        match self.fields.iter_mut().find(|known| known.name == field.name) {
            Some(known) => *known = field,
            None => self.fields.push(field),
        }
        self
    }

    /// What it refuses, with which status and text: those of its parameters first, in their order.
    pub fn failures(&self) -> Vec<(u16, Text)> {
        let checked = self.fields.iter().filter(|_| !self.coded).flat_map(refusals).map(|text| (422, text));
        checked.chain(self.failures.iter().cloned()).collect()
    }

    /// Whether a parameter stands in the path.
    pub fn in_path(&self, name: &str) -> bool {
        self.path.split(['{', '}']).skip(1).step_by(2).any(|known| known.trim_start_matches('*') == name)
    }

    /// A file that is uploaded in this field.
    #[must_use]
    pub fn file(mut self, field: &'static str) -> Self {
        self.body = Body::File(field);
        self
    }

    /// `{"msg":"ok","data":T}`
    #[must_use]
    pub fn data<T: ToSchema>(mut self) -> Self {
        let data = self.named::<T>();
        self.json(envelope(data))
    }

    /// `{"msg":"ok","data":T}`, or `null` in place of `T`.
    #[must_use]
    pub fn data_or_null<T: ToSchema>(mut self) -> Self {
        let data = self.named::<T>();
        let null = ObjectBuilder::new().schema_type(Type::Null);
        self.json(envelope(Schema::OneOf(OneOfBuilder::new().item(null).item(data).build())))
    }

    /// `{"msg":"ok","data":[T, …]}`
    #[must_use]
    pub fn list<T: ToSchema>(mut self) -> Self {
        let data = self.array_of::<T>();
        self.json(envelope(data))
    }

    /// `{"msg":"ok","data":"<one of these texts>"}`
    #[must_use]
    pub fn says(self, texts: &[&'static str]) -> Self {
        let data = ObjectBuilder::new().schema_type(Type::String);
        let data = if texts.iter().all(|text| text.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
            data.enum_values(Some(texts.iter().copied()))
        } else {
            // Generators name the members of an enum by their ASCII letters, of which these have none.
            let any = texts.iter().map(|text| escaped(text)).collect::<Vec<_>>().join("|");
            data.pattern(Some(format!("^(?:{any})$"))).examples(texts.iter().copied())
        };
        self.json(envelope(data.build()))
    }

    /// `{"msg":"ok","data":true}`
    #[must_use]
    pub fn is_true(self) -> Self {
        // Of an enum with this one value, and of a `const`, a generated Python client makes texts, and fails at what is answered. utoipa
        // has no words of its own for `not`.
        let not_false = Extensions::from_iter([("not", json!({ "const": false }))]);
        self.json(envelope(ObjectBuilder::new().schema_type(Type::Boolean).extensions(Some(not_false)).build()))
    }

    /// A JSON body without the envelope.
    #[must_use]
    pub fn bare<T: ToSchema>(mut self) -> Self {
        let body = self.named::<T>();
        self.json(body)
    }

    /// `{"code":200,"msg":"…","data":…}`, with a code of 400 or 404 where others answer by a status.
    #[must_use]
    pub fn coded(mut self, data: Option<RefOr<Schema>>, texts: &[&'static str]) -> Self {
        self.coded = true;
        let code = ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some([200, 400, 404]));
        let msg = ObjectBuilder::new().schema_type(Type::String).examples(texts.iter().copied());
        let mut body =
            ObjectBuilder::new().property("code", code).property("msg", msg).required("code").required("msg");
        if let Some(data) = data {
            body = body.property("data", data);
        }
        self.json(body.build())
    }

    /// A reply of another media type.
    #[must_use]
    pub fn also(mut self, status: u16, title: &'static str, media: &'static [&'static str]) -> Self {
        self.successes.push(Success { status, title, media, schema: None });
        self
    }

    /// Refused with 400 and one of these texts.
    #[must_use]
    pub fn refuses(mut self, texts: &[&'static str]) -> Self {
        for text in texts {
            self.fail(400, *text);
        }
        self
    }

    /// Refused with 422 and this text, by a rule that is no bound.
    #[must_use]
    pub fn invalid(self, text: &'static str) -> Self {
        self.fails(422, text)
    }

    /// Fails with this status and this text.
    #[must_use]
    pub fn fails(mut self, status: u16, text: &'static str) -> Self {
        self.fail(status, text);
        self
    }

    /// Fails with this status and a text that fits the pattern.
    #[must_use]
    pub fn fails_like(mut self, status: u16, pattern: &str, example: &str) -> Self {
        self.failures.push((status, Text::Like { pattern: pattern.to_owned(), example: example.to_owned() }));
        self
    }

    /// Remembers the shape, and refers to it by its name.
    pub fn named<T: ToSchema>(&mut self) -> RefOr<Schema> {
        T::schemas(&mut self.schemas);
        let name = T::name().into_owned();
        self.schemas.push((name.clone(), T::schema()));
        Ref::from_schema_name(name).into()
    }

    /// The same, for a list of it.
    pub fn array_of<T: ToSchema>(&mut self) -> RefOr<Schema> {
        let item = self.named::<T>();
        Schema::Array(ArrayBuilder::new().items(item).build()).into()
    }

    fn json(mut self, schema: impl Into<RefOr<Schema>>) -> Self {
        self.successes.push(Success {
            status: 200,
            title: "成功 (success)",
            media: &[JSON],
            schema: Some(schema.into()),
        });
        self
    }
}

fn envelope(data: impl Into<RefOr<Schema>>) -> Schema {
    let msg = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["ok"]));
    ObjectBuilder::new().property("msg", msg).property("data", data).required("msg").required("data").into()
}

/// What a parameter is refused with (`http/fields.rs`).
fn refusals(field: &Field) -> Vec<Text> {
    let label = &field.label;
    // A parameter without a label never fails: what does not fit it counts as absent.
    if label.is_empty() {
        return Vec::new();
    }
    let exact = |text: &str| Text::Exact(format!("{label}{text}"));
    let mut texts = vec![exact("不能为空")];
    let mut like = |before: &str, example: &str, after: &str| {
        let pattern = format!("^{} 的值 `[\\s\\S]*` {}$", escaped(label), escaped(after));
        texts.push(Text::Like { pattern, example: format!("{label}{before}{example}` {after}") });
    };
    match &field.kind {
        Kind::Text { max: LENGTH_MAX, min: 0 | 1 } | Kind::Any => {}
        Kind::Text { min, max } => texts.push(exact(&format!(" 的长度 必须 在 {min} 和 {max} 之间"))),
        Kind::Int { min, max } => {
            like(" 的值 `", "abc", "的类型不是 `int`");
            texts.push(exact(&match min {
                0 => format!(" 的数值 必须 大于等于 `0` 小于等于 `{max}`"),
                _ => format!(" 的数值 必须 在 {min} 和 {max} 之间"),
            }));
        }
        Kind::Word(words) => like(" 的值 `", "other", &among(words.iter())),
        Kind::Number(numbers) => {
            like(" 的值 `", "abc", "的类型不是 `int`");
            like(" 的值 `", "7", &among(numbers.iter()));
            let max = super::fields::INT_MAX;
            texts.push(exact(&format!(" 的数值 必须 在 {} 和 {max} 之间", -max)));
        }
        Kind::List => {
            like(" 的值 `", "{\"a\":1}", "与指定结构 (`{\"type\":\"array\"}`) 冲突");
            like(" 的值 `", "5", "的类型不是 `json`");
        }
    }
    texts
}

fn among<T: std::fmt::Display>(allowed: impl Iterator<Item = T>) -> String {
    format!("必须在 [{}] 中", allowed.map(|one| format!("`{one}`")).collect::<Vec<_>>().join("、"))
}

/// `text` as a regular expression that fits nothing else.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\^$.|?*+()[]{}".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
