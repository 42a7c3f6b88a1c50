//! Forms in the style of the `qs` library: `a=1&a=2`, `a[]=1`, `a[0]=1` are lists, `a[b]=1` is an object, and so on into each
//! other (contract: messaging §0 "Body encoding"). Queries are plainer, as they were in the old framework.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::payload::too_large;
use crate::error::Result;

/// Fields of one form. The old parser dropped what came after the first thousand without a word.
const FIELDS_MAX: usize = 10_000;
/// Brackets of one name that are looked into; the rest of the name is then one word.
const DEPTH_MAX: usize = 5;

/// The parameters of a query. Of those of one name the first counts, and brackets are part of a name.
pub fn parse_query(query: &str) -> Map<String, Value> {
    let mut fields = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        fields.entry(name).or_insert_with(|| value.into());
    }
    fields
}

/// The fields of a urlencoded form.
pub fn parse(bytes: &[u8]) -> Result<Map<String, Value>> {
    let mut form = Form::default();
    for (name, value) in form_urlencoded::parse(bytes) {
        form.add(&name, value.into_owned())?;
    }
    Ok(form.into_fields())
}

/// A form of which field after field is read.
#[derive(Debug, Default)]
pub struct Form {
    fields: BTreeMap<String, Node>,
    count: usize,
}

impl Form {
    /// Adds a field to those of the same name.
    pub fn add(&mut self, name: &str, value: String) -> Result<()> {
        self.count += 1;
        if self.count > FIELDS_MAX {
            return Err(too_large());
        }
        let (name, brackets) = parts(name);
        let mut node = self.fields.entry(name.to_owned()).or_default();
        for bracket in brackets {
            node = node.member(bracket);
        }
        node.values.push(value);
        Ok(())
    }

    /// What each name holds.
    pub fn into_fields(self) -> Map<String, Value> {
        self.fields.into_iter().map(|(name, node)| (name, node.into_value())).collect()
    }
}

/// A name, and what stands in the brackets after it. A name whose brackets do not close has none.
fn parts(whole: &str) -> (&str, Vec<&str>) {
    let Some((name, mut rest)) = whole.find('[').filter(|at| *at > 0).map(|at| whole.split_at(at)) else {
        return (whole, Vec::new());
    };
    let mut brackets = Vec::new();
    while !rest.is_empty() {
        if brackets.len() == DEPTH_MAX {
            brackets.push(rest);
            break;
        }
        let closed = rest.strip_prefix('[').and_then(|inside| inside.split_once(']'));
        let Some((bracket, after)) = closed.filter(|(bracket, _)| !bracket.contains('[')) else {
            return (whole, Vec::new());
        };
        brackets.push(bracket);
        rest = after;
    }
    (name, brackets)
}

/// What a name, or a bracket of one, holds.
#[derive(Debug, Default)]
struct Node {
    values: Vec<String>,
    members: BTreeMap<Member, Node>,
}

/// What stands in brackets. The order is that of the members of a list; nothing but numbers and nothings makes one.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Member {
    Number(u32),
    /// Empty brackets: the next of a list.
    Next(usize),
    Word(String),
}

impl Node {
    fn member(&mut self, bracket: &str) -> &mut Self {
        let is_number = !bracket.is_empty() && bracket.bytes().all(|b| b.is_ascii_digit());
        let member = match bracket.parse() {
            _ if bracket.is_empty() => Member::Next(self.members.len()),
            Ok(number) if is_number => Member::Number(number),
            _ => Member::Word(bracket.to_owned()),
        };
        self.members.entry(member).or_default()
    }

    fn into_value(mut self) -> Value {
        if self.members.is_empty() && self.values.len() == 1 {
            return Value::String(self.values.remove(0));
        }
        let values = self.values.into_iter().map(Value::String);
        if self.members.keys().all(|member| !matches!(member, Member::Word(_))) {
            return values.chain(self.members.into_values().map(Self::into_value)).collect();
        }
        // An object has no place for what has no name: it keeps its place in the list that this is not.
        let unnamed = values.enumerate().map(|(at, value)| (at.to_string(), value));
        let named = self.members.into_iter().map(|(member, node)| (member.into_name(), node.into_value()));
        Value::Object(unnamed.chain(named).collect())
    }
}

impl Member {
    fn into_name(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Next(number) => number.to_string(),
            Self::Word(word) => word,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(form: &str) -> Value {
        Value::Object(parse(form.as_bytes()).unwrap())
    }

    #[test]
    fn lists_have_three_spellings() {
        for form in
            ["ids=1&ids=2", "ids[]=1&ids[]=2", "ids%5B0%5D=1&ids%5B1%5D=2", "ids[7]=2&ids[0]=1", "ids=1&ids[]=2"]
        {
            assert_eq!(parsed(form), json!({ "ids": ["1", "2"] }), "{form}");
        }
        assert_eq!(parsed("ids[]=1"), json!({ "ids": ["1"] }));
        assert_eq!(parsed("ids=1"), json!({ "ids": "1" }));
    }

    #[test]
    fn the_first_of_equal_names_counts_in_a_query() {
        let fields = parse_query("limit=1&page=2&limit=3&a[b]=%E4%BD%A0");
        assert_eq!(Value::Object(fields), json!({ "limit": "1", "page": "2", "a[b]": "你" }));
        assert!(parse_query("").is_empty());
    }

    #[test]
    fn objects_and_lists_go_into_each_other() {
        assert_eq!(
            parsed("data[data]=hi&data[other][title]=x&type=text"),
            json!({ "data": { "data": "hi", "other": { "title": "x" } }, "type": "text" })
        );
        assert_eq!(parsed("a[0][b]=1&a[0][c]=2&a[1][b]=3"), json!({ "a": [{ "b": "1", "c": "2" }, { "b": "3" }] }));
        assert_eq!(parsed("a[b][]=1&a[b][]=2"), json!({ "a": { "b": ["1", "2"] } }));
        assert_eq!(parsed("a[b]=1&a[0]=2&a=3&a[]=4"), json!({ "a": { "b": "1", "0": "2", "2": "4" } }));
    }

    #[test]
    fn brackets_are_looked_into_five_deep() {
        assert_eq!(
            parsed("a[b][c][d][e][f][g][h]=1"),
            json!({ "a": { "b": { "c": { "d": { "e": { "f": { "[g][h]": "1" } } } } } } })
        );
    }

    #[test]
    fn what_only_looks_like_brackets_is_a_name() {
        for name in ["a[b", "a]b", "[a]", "[", "a[b]c", "a[b[c]", "", "a[99999999999999999999"] {
            assert_eq!(parsed(&format!("{name}=1")), json!({ name: "1" }), "{name}");
        }
        assert_eq!(parsed("a[99999999999999999999]=1"), json!({ "a": { "99999999999999999999": "1" } }));
    }

    #[test]
    fn a_form_with_too_many_fields_is_refused() {
        assert_eq!(parse(&b"a=1&".repeat(FIELDS_MAX)).unwrap()["a"].as_array().unwrap().len(), FIELDS_MAX);
        assert!(parse(&b"a=1&".repeat(FIELDS_MAX + 1)).is_err());
    }
}
