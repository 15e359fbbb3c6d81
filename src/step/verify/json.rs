//! Fields of a JSON answer.

use serde_json::Value;

/// The value of a field; dots lead into objects.
pub(super) fn field<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.')
        .try_fold(value, |value, name| value.as_object()?.get(name))
}

/// Whether two values are the same, numbers by what they stand for: `1` is `1.0`.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            // Two whole numbers are compared as such: as floating ones large ones would lose digits.
            let whole = !one.is_f64() && !other.is_f64();
            one == other || (!whole && one.as_f64() == other.as_f64())
        }
        _ => one == other,
    }
}

/// A value for people, as JSON, cut where it is long.
pub(super) fn shown(value: Option<&Value>) -> String {
    const LONGEST: usize = 80;
    let Some(value) = value else {
        return "absent".to_owned();
    };
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dots_lead_into_objects() {
        let value = json!({"a": {"b": {"c": 1}}, "list": [1]});
        assert_eq!(field(&value, "a.b.c"), Some(&json!(1)));
        assert_eq!(field(&value, "a.b.x"), None);
        assert_eq!(field(&value, "a.b.c.d"), None);
        assert_eq!(field(&value, "list.0"), None);
    }

    #[test]
    fn numbers_are_compared_by_value_and_nothing_else_is_turned_into_them() {
        assert!(same(&json!(1), &json!(1.0)));
        assert!(!same(&json!(1), &json!("1")));
        assert!(!same(&json!(1), &json!(true)));
        assert!(!same(
            &json!(9_007_199_254_740_993_u64),
            &json!(9_007_199_254_740_992_u64)
        ));
        assert!(same(&json!(null), &json!(null)));
    }

    #[test]
    fn what_is_long_is_cut() {
        assert_eq!(shown(Some(&json!("degraded"))), "\"degraded\"");
        assert_eq!(shown(None), "absent");
        assert_eq!(shown(Some(&json!("ä".repeat(100)))).chars().count(), 81);
    }
}
