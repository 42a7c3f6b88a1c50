//! Parameters as the old backend's validator reads them (contract: people §1.1, messaging §0): loose in type, exact in text.
//!
//! A [`Draft`] reads its fields in the contract's order; the first that fails ends it with its message. The same code says
//! what it would read ([`asked_by`]): the description of a route cannot differ from what its handler takes.

use std::borrow::Cow;
use std::cell::RefCell;

use serde_json::{Map, Number, Value};
use validator::{ValidateLength, ValidateRange};

use super::json;
use crate::error::{AppError, Result};

/// Bounds that the old validator assumes where none are given, and prints when the other bound fails.
pub const INT_MAX: i64 = 10_000_000_000_000_000;
/// As [`INT_MAX`], for lengths.
pub const LENGTH_MAX: u64 = 10_000_000;

/// A checked set of parameters; a service never receives anything else.
pub trait Draft: Sized {
    /// Takes the declared fields, in the order in which the contract checks them.
    fn read(fields: &Fields) -> Result<Self>;
}

/// The raw values of one request.
#[derive(Debug, Default)]
pub struct Fields {
    values: Map<String, Value>,
    /// Where what is asked for is noted, if nobody sent anything and a description is all that is wanted.
    notes: Option<Box<RefCell<Vec<Field>>>>,
}

/// A parameter as a [`Draft`] asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// As in the body, the query or the path.
    pub name: String,
    /// What refusals call it.
    pub label: String,
    /// What it is, where its label does not say so; else "".
    pub about: &'static str,
    /// What fits.
    pub kind: Kind,
    /// Whether its absence is refused.
    pub required: bool,
}

/// What fits a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text of so many code points.
    Text {
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
    /// A whole number.
    Int {
        /// At least.
        min: i64,
        /// At most.
        max: i64,
    },
    /// One of these words.
    Word(Vec<&'static str>),
    /// One of these numbers.
    Number(Vec<i64>),
    /// A list of numbers or texts.
    List,
    /// Whatever it is.
    Any,
}

/// The parameters that a draft reads, in its order.
pub fn asked_by<T: Draft>() -> Vec<Field> {
    // Drafts that look at values themselves see a number, which fits most of them.
    let sample = Map::from_iter([(String::new(), Value::from(1))]);
    let fields = Fields { values: sample, notes: Some(Box::default()) };
    // A draft that wants more of a value than the sample has refuses it, and has asked for it by then.
    let _ = T::read(&fields);
    fields.notes.map(|notes| notes.into_inner()).unwrap_or_default()
}

impl Fields {
    /// The values of a body or a query.
    pub const fn new(values: Map<String, Value>) -> Self {
        Self { values, notes: None }
    }

    /// Sets a path parameter, which wins over what the body or the query says.
    pub fn insert(&mut self, name: String, value: Value) {
        self.values.insert(name, value);
    }

    /// Notes what is asked for, if that is all that is wanted.
    fn noted(&self, name: &str, label: &str, kind: impl FnOnce() -> Kind, required: bool) -> bool {
        let Some(notes) = &self.notes else { return false };
        let mut notes = notes.borrow_mut();
        let field = Field { name: name.to_owned(), label: label.to_owned(), about: "", kind: kind(), required };
        match notes.iter_mut().find(|known| known.name == name) {
            // Looked at before it was read: it may be absent.
            Some(known) if known.kind == Kind::Any => *known = Field { required: known.required, ..field },
            Some(_) => {}
            None => notes.push(field),
        }
        true
    }

    /// A string that must be there, of `min` to `max` code points.
    pub fn string(&self, name: &str, label: &str, min: u64, max: u64) -> Result<String> {
        if self.noted(name, label, || Kind::Text { min, max }, true) {
            return Ok(String::new());
        }
        let value = self.shown(name).ok_or_else(|| missing(label))?;
        if value.validate_length(Some(min), Some(max), None) {
            return Ok(value.into_owned());
        }
        Err(AppError::Invalid(format!("{label} 的长度 必须 在 {min} 和 {max} 之间")))
    }

    /// A string that must be there, with no bound of its own.
    pub fn any_string(&self, name: &str, label: &str) -> Result<String> {
        self.string(name, label, 1, LENGTH_MAX)
    }

    /// A string that may be absent; what does not fit counts as absent.
    pub fn optional_string(&self, name: &str, min: u64, max: u64) -> String {
        if self.noted(name, "", || Kind::Text { min, max }, false) {
            return String::new();
        }
        let value = self.shown(name).filter(|value| value.validate_length(Some(min), Some(max), None));
        value.unwrap_or_default().into_owned()
    }

    /// A whole number that must be there, of `min` to `max`.
    pub fn int(&self, name: &str, label: &str, min: i64, max: i64) -> Result<i64> {
        if self.noted(name, label, || Kind::Int { min, max }, true) {
            return Ok(min);
        }
        let text = self.shown(name).ok_or_else(|| missing(label))?;
        let not_int = || AppError::Invalid(format!("{label} 的值 `{text}` 的类型不是 `int`"));
        if !is_int(&text) {
            return Err(not_int());
        }
        let value: Option<i64> = text.parse().ok();
        match value.filter(|value| value.validate_range(Some(min), Some(max), None, None)) {
            Some(value) => Ok(value),
            None if min == 0 => Err(AppError::Invalid(format!("{label} 的数值 必须 大于等于 `0` 小于等于 `{max}`"))),
            None => Err(AppError::Invalid(format!("{label} 的数值 必须 在 {min} 和 {max} 之间"))),
        }
    }

    /// The id of a row: a whole number of 1 or more.
    pub fn id(&self, name: &str, label: &str) -> Result<i64> {
        self.int(name, label, 1, INT_MAX)
    }

    /// A whole number that may be absent; what does not fit becomes `default`.
    pub fn optional_int(&self, name: &str, min: i64, max: i64, default: i64) -> i64 {
        if self.noted(name, "", || Kind::Int { min, max }, false) {
            return default;
        }
        self.int(name, "", min, max).unwrap_or(default)
    }

    /// One of `allowed`, which must be there.
    pub fn choice(&self, name: &str, label: &str, allowed: &[&'static str]) -> Result<&'static str> {
        if self.noted(name, label, || Kind::Word(allowed.to_vec()), true) {
            return Ok(allowed.first().copied().unwrap_or_default());
        }
        let text = self.shown(name).ok_or_else(|| missing(label))?;
        allowed.iter().find(|choice| **choice == text).copied().ok_or_else(|| not_among(label, &text, allowed))
    }

    /// One of the whole numbers `allowed`, which must be there.
    pub fn int_choice(&self, name: &str, label: &str, allowed: &[i64]) -> Result<i64> {
        if self.noted(name, label, || Kind::Number(allowed.to_vec()), true) {
            return Ok(allowed.first().copied().unwrap_or_default());
        }
        let value = self.int(name, label, -INT_MAX, INT_MAX)?;
        if allowed.contains(&value) {
            return Ok(value);
        }
        let shown: Vec<String> = allowed.iter().map(i64::to_string).collect();
        let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
        Err(not_among(label, &value.to_string(), &shown))
    }

    /// A list that must be there: JSON, the JSON text of one, or text with commas. As in the old validator, whatever parses
    /// as JSON and is not nothing is taken for JSON, and then has to be a list.
    pub fn list(&self, name: &str, label: &str) -> Result<Vec<String>> {
        if self.noted(name, label, || Kind::List, true) {
            return Ok(Vec::new());
        }
        let value = self.values.get(name).filter(|value| value.as_str() != Some("")).ok_or_else(|| missing(label))?;
        let shown = shown(value);
        let json = match value {
            Value::String(text) => json::parse(text.as_bytes()).ok().filter(is_truthy),
            Value::Number(_) | Value::Bool(_) => Some(value.clone()).filter(is_truthy),
            other => Some(other.clone()),
        };
        match json {
            None => Ok(shown.split(',').map(str::to_owned).collect()),
            Some(Value::Array(list)) => Ok(list.iter().map(|member| self::shown(member).into_owned()).collect()),
            Some(Value::Object(_)) => {
                Err(AppError::Invalid(format!("{label} 的值 `{shown}` 与指定结构 (`{{\"type\":\"array\"}}`) 冲突")))
            }
            Some(_) => Err(AppError::Invalid(format!("{label} 的值 `{shown}` 的类型不是 `json`"))),
        }
    }

    /// The value as it came, for the few parameters that are not text or numbers.
    pub fn raw(&self, name: &str) -> Option<&Value> {
        let name = if self.noted(name, "", || Kind::Any, false) { "" } else { name };
        self.values.get(name)
    }

    /// The value as text: numbers in decimal, objects and arrays as compact JSON, `null` as the word, "" as absent.
    pub fn text(&self, name: &str) -> Option<String> {
        let name = if self.noted(name, "", || Kind::Any, false) { "" } else { name };
        self.shown(name).map(Cow::into_owned)
    }

    fn shown(&self, name: &str) -> Option<Cow<'_, str>> {
        self.values.get(name).map(shown).filter(|text| !text.is_empty())
    }
}

/// A value as text.
pub fn shown(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => text.into(),
        Value::Number(number) => whole(number).unwrap_or_else(|| number.to_string()).into(),
        // Not by its `Display`, which grows the text bit by bit.
        other => serde_json::to_string(other).expect("a value is valid JSON").into(),
    }
}

/// The digits of a whole number that was written with a point or an exponent: to JavaScript `33.0` is 33.
fn whole(number: &Number) -> Option<String> {
    let value = number.as_f64().filter(|_| number.is_f64())?;
    // JavaScript, too, writes larger ones with an exponent. Adding nothing takes the sign of a negative nothing.
    (value.fract() == 0.0 && value.abs() < 1e21).then(|| format!("{:.0}", value + 0.0))
}

/// What JavaScript takes for true.
pub fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

fn missing(label: &str) -> AppError {
    AppError::Invalid(format!("{label}不能为空"))
}

fn not_among(label: &str, value: &str, allowed: &[&str]) -> AppError {
    let shown: Vec<String> = allowed.iter().map(|choice| format!("`{choice}`")).collect();
    AppError::Invalid(format!("{label} 的值 `{value}` 必须在 [{}] 中", shown.join("、")))
}

fn is_int(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        let Value::Object(map) = value else { panic!("an object") };
        Fields::new(map)
    }

    fn text_of<T: std::fmt::Debug>(result: Result<T>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn truth_is_javascript_s() {
        for yes in [json!(true), json!(1), json!(-0.5), json!("0"), json!([]), json!({})] {
            assert!(is_truthy(&yes), "{yes}");
        }
        for no in [json!(null), json!(false), json!(0), json!(0.0), json!("")] {
            assert!(!is_truthy(&no), "{no}");
        }
    }

    #[test]
    fn loose_types_are_taken_as_the_old_validator_takes_them() {
        let f = fields(json!({"a": 123_456, "b": "7", "c": {"x": 1}, "d": null, "e": "", "g": "+07"}));
        assert_eq!(f.any_string("a", "A").unwrap(), "123456");
        assert_eq!(f.id("b", "B").unwrap(), 7);
        assert_eq!(f.any_string("c", "C").unwrap(), r#"{"x":1}"#);
        assert_eq!(f.any_string("d", "D").unwrap(), "null");
        assert_eq!(text_of(f.any_string("e", "E")), "E不能为空");
        assert_eq!(f.id("g", "G").unwrap(), 7);
    }

    #[test]
    fn every_refusal_has_the_contract_s_text() {
        let f = fields(json!({"s": "👍👍👍", "n": "x", "z": -1, "m": 0, "e": "other", "huge": "99999999999999999999"}));
        assert_eq!(text_of(f.string("s", "账号", 4, 20)), "账号 的长度 必须 在 4 和 20 之间");
        assert_eq!(text_of(f.id("n", "好友id")), "好友id 的值 `x` 的类型不是 `int`");
        assert_eq!(text_of(f.id("m", "好友id")), "好友id 的数值 必须 在 1 和 10000000000000000 之间");
        assert_eq!(text_of(f.int("z", "属性", 0, 10)), "属性 的数值 必须 大于等于 `0` 小于等于 `10`");
        assert_eq!(text_of(f.id("huge", "好友id")), "好友id 的数值 必须 在 1 和 10000000000000000 之间");
        assert_eq!(
            text_of(f.choice("e", "类型", &["single", "group"])),
            "类型 的值 `other` 必须在 [`single`、`group`] 中"
        );
        assert_eq!(text_of(f.int_choice("z", "可见", &[0, 1])), "可见 的值 `-1` 必须在 [`0`、`1`] 中");
    }

    /// Each line was given to the old validator (valparams 3.13.4), which answered the same.
    #[test]
    fn lists_are_read_as_the_old_validator_reads_them() {
        let list = |value: Value| fields(json!({ "userIds": value })).list("userIds", "userIds");
        for (value, members) in [
            (json!([1]), vec!["1"]),
            (json!(["1", "2"]), vec!["1", "2"]),
            (json!([]), vec![]),
            (json!("[1,2]"), vec!["1", "2"]),
            (json!("1,2"), vec!["1", "2"]),
            (json!(" 1, 2"), vec![" 1", " 2"]),
            (json!("1,"), vec!["1", ""]),
            (json!("abc"), vec!["abc"]),
            (json!("[1"), vec!["[1"]),
            (json!("null"), vec!["null"]),
            (json!("0"), vec!["0"]),
            (json!(0), vec!["0"]),
        ] {
            assert_eq!(list(value.clone()).unwrap(), members, "{value}");
        }
        for value in [json!(5), json!("5"), json!("5.5"), json!(true), json!("true"), json!(null), json!("\"x\"")] {
            let text = format!("userIds 的值 `{}` 的类型不是 `json`", shown(&value));
            assert_eq!(text_of(list(value)), text);
        }
        for value in [json!({"a": 1}), json!("{\"a\":1}")] {
            let text = "userIds 的值 `{\"a\":1}` 与指定结构 (`{\"type\":\"array\"}`) 冲突";
            assert_eq!(text_of(list(value)), text);
        }
        assert_eq!(text_of(list(json!(""))), "userIds不能为空");
        assert_eq!(text_of(fields(json!({})).list("userIds", "userIds")), "userIds不能为空");
    }

    #[test]
    fn what_does_not_fit_an_optional_field_counts_as_absent() {
        let f = fields(json!({"nickname": "x".repeat(51), "limit": "many"}));
        assert_eq!(f.optional_string("nickname", 1, 50), "");
        assert_eq!(f.optional_int("limit", 1, INT_MAX, 30), 30);
    }

    #[test]
    fn a_draft_tells_what_it_would_read() {
        struct All;
        impl Draft for All {
            fn read(fields: &Fields) -> Result<Self> {
                fields.string("name", "名称", 1, 20)?;
                fields.text("kind").map(|_| fields.any_string("kind", "类型")).transpose()?;
                fields.optional_int("limit", 1, 9, 5);
                fields.choice("chat", "聊天", &["single", "group"])?;
                fields.int_choice("see", "可见", &[0, 1])?;
                fields.list("ids", "列表")?;
                fields.raw("time").filter(|time| time.is_string()).ok_or(AppError::refused("no"))?;
                fields.id("late", "晚").map(|_| Self)
            }
        }
        let field = |name: &str, label: &str, kind, required| Field {
            name: name.to_owned(),
            label: label.to_owned(),
            about: "",
            kind,
            required,
        };
        let expected = [
            field("name", "名称", Kind::Text { min: 1, max: 20 }, true),
            field("kind", "类型", Kind::Text { min: 1, max: LENGTH_MAX }, false),
            field("limit", "", Kind::Int { min: 1, max: 9 }, false),
            field("chat", "聊天", Kind::Word(vec!["single", "group"]), true),
            field("see", "可见", Kind::Number(vec![0, 1]), true),
            field("ids", "列表", Kind::List, true),
            field("time", "", Kind::Any, false),
        ];
        assert_eq!(asked_by::<All>(), expected, "what comes after a refusal is not asked for");
    }
}
