//! What the engine takes silently for nothing, made an error: a value that is not there, handed to
//! a filter, a test or a function, or put into a collection.
//!
//! The engine is strict only where a value is written, compared or iterated: `tojson` writes `null`
//! for an unknown name, and `join` does without a separator. Must not know which names there are.

use minijinja::value::{Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value, filters, functions, tests};

use super::engine::SecretLookup;

/// Values that one rendering may be searched for what is not there: their cost isn't in the engine's fuel.
const MOST: u64 = 5_000_000;
/// A namespace may hold itself.
const DEEPEST: u64 = 128;

/// How many values were searched in one rendering.
#[derive(Default)]
struct Searched(u64);

/// Puts a guard before every built-in that isn't there to tell what is undefined: `default`, `d`,
/// `is defined` and `is undefined`.
pub(super) fn guard(engine: &mut Environment<'static>) {
    for (name, original) in built_in_filters() {
        // They hand item for item to a filter or a test, which may well be `default` or `defined`.
        let by_item = ["map", "select", "reject"].contains(&name);
        engine.add_filter(name, guarded(original, by_item));
    }
    for (name, original) in built_in_tests() {
        engine.add_test(name, guarded(original, false));
    }
    let functions = [
        ("range", Value::from_function(functions::range)),
        ("dict", Value::from_function(functions::dict)),
        ("namespace", Value::from_function(functions::namespace)),
    ];
    for (name, original) in functions {
        engine.add_function(name, guarded(original, false));
    }
}

type Arguments = Rest<ValueOrKwargs>;

/// `by_item`: whether the items of the first argument are somebody else's to look at, where there is another.
fn guarded(
    original: Value,
    by_item: bool,
) -> impl Fn(&mut State, Arguments) -> Result<Value, Error> + Send + Sync + 'static {
    move |state, arguments| {
        let arguments = arguments.into_values();
        let others = by_item && arguments.len() > 1 && !arguments[0].is_undefined();
        for argument in arguments.iter().skip(usize::from(others)) {
            refuse_undefined(state, argument)?;
        }
        original.call(state, &arguments)
    }
}

/// Says so if the value, or one at any depth inside of it, is not there.
pub(super) fn refuse_undefined(state: &mut State, value: &Value) -> Result<(), Error> {
    search(state, value, 0)
}

fn search(state: &mut State, value: &Value, depth: u64) -> Result<(), Error> {
    let searched = state.get_or_insert_extension(Searched::default());
    searched.0 += 1;
    if searched.0 > MOST {
        return Err(ErrorKind::OutOfFuel.into());
    }
    match value.kind() {
        // The engine knows which one it is, and lets `x if y` without `else` pass as the nothing that it says.
        ValueKind::Undefined => state.format(value.clone()).map(drop),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable
            if value.downcast_object_ref::<SecretLookup>().is_none() =>
        {
            if depth > DEEPEST {
                let why = "it is nested too deeply";
                return Err(Error::new(ErrorKind::InvalidOperation, why));
            }
            // What can't be listed holds nothing that could be seen.
            let Ok(items) = value.try_iter() else {
                return Ok(());
            };
            for item in items {
                search(state, &item, depth + 1)?;
                if value.kind() == ValueKind::Map {
                    let inner = value.get_item(&item)?;
                    search(state, &inner, depth + 1)?;
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn built_in_filters() -> Vec<(&'static str, Value)> {
    vec![
        ("abs", Value::from_function(filters::abs)),
        ("attr", Value::from_function(filters::attr)),
        ("batch", Value::from_function(filters::batch)),
        ("bool", Value::from_function(filters::bool)),
        ("capitalize", Value::from_function(filters::capitalize)),
        ("chain", Value::from_function(filters::chain)),
        ("count", Value::from_function(filters::length)),
        ("dictsort", Value::from_function(filters::dictsort)),
        ("e", Value::from_function(filters::escape)),
        ("escape", Value::from_function(filters::escape)),
        ("first", Value::from_function(filters::first)),
        ("float", Value::from_function(filters::float)),
        ("format", Value::from_function(filters::format)),
        ("groupby", Value::from_function(filters::groupby)),
        ("indent", Value::from_function(filters::indent)),
        ("int", Value::from_function(filters::int)),
        ("items", Value::from_function(filters::items)),
        ("join", Value::from_function(filters::join)),
        ("last", Value::from_function(filters::last)),
        ("length", Value::from_function(filters::length)),
        ("lines", Value::from_function(filters::lines)),
        ("list", Value::from_function(filters::list)),
        ("lower", Value::from_function(filters::lower)),
        ("map", Value::from_function(filters::map)),
        ("max", Value::from_function(filters::max)),
        ("min", Value::from_function(filters::min)),
        ("pprint", Value::from_function(filters::pprint)),
        ("reject", Value::from_function(filters::reject)),
        ("rejectattr", Value::from_function(filters::rejectattr)),
        ("replace", Value::from_function(filters::replace)),
        ("reverse", Value::from_function(filters::reverse)),
        ("round", Value::from_function(filters::round)),
        ("safe", Value::from_function(filters::safe)),
        ("select", Value::from_function(filters::select)),
        ("selectattr", Value::from_function(filters::selectattr)),
        ("slice", Value::from_function(filters::slice)),
        ("sort", Value::from_function(filters::sort)),
        ("split", Value::from_function(filters::split)),
        ("string", Value::from_function(filters::string)),
        ("sum", Value::from_function(filters::sum)),
        ("title", Value::from_function(filters::title)),
        ("tojson", Value::from_function(filters::tojson)),
        ("trim", Value::from_function(filters::trim)),
        ("unique", Value::from_function(filters::unique)),
        ("upper", Value::from_function(filters::upper)),
        ("zip", Value::from_function(filters::zip)),
    ]
}

fn built_in_tests() -> Vec<(&'static str, Value)> {
    vec![
        ("!=", Value::from_function(tests::is_ne)),
        ("<", Value::from_function(tests::is_lt)),
        ("<=", Value::from_function(tests::is_le)),
        ("==", Value::from_function(tests::is_eq)),
        (">", Value::from_function(tests::is_gt)),
        (">=", Value::from_function(tests::is_ge)),
        ("boolean", Value::from_function(tests::is_boolean)),
        ("divisibleby", Value::from_function(tests::is_divisibleby)),
        ("endingwith", Value::from_function(tests::is_endingwith)),
        ("eq", Value::from_function(tests::is_eq)),
        ("equalto", Value::from_function(tests::is_eq)),
        ("escaped", Value::from_function(tests::is_safe)),
        ("even", Value::from_function(tests::is_even)),
        ("false", Value::from_function(tests::is_false)),
        ("filter", Value::from_function(tests::is_filter)),
        ("float", Value::from_function(tests::is_float)),
        ("ge", Value::from_function(tests::is_ge)),
        ("greaterthan", Value::from_function(tests::is_gt)),
        ("gt", Value::from_function(tests::is_gt)),
        ("in", Value::from_function(tests::is_in)),
        ("int", Value::from_function(tests::is_integer)),
        ("integer", Value::from_function(tests::is_integer)),
        ("iterable", Value::from_function(tests::is_iterable)),
        ("le", Value::from_function(tests::is_le)),
        ("lessthan", Value::from_function(tests::is_lt)),
        ("lower", Value::from_function(tests::is_lower)),
        ("lt", Value::from_function(tests::is_lt)),
        ("mapping", Value::from_function(tests::is_mapping)),
        ("ne", Value::from_function(tests::is_ne)),
        ("none", Value::from_function(tests::is_none)),
        ("number", Value::from_function(tests::is_number)),
        ("odd", Value::from_function(tests::is_odd)),
        ("safe", Value::from_function(tests::is_safe)),
        ("sameas", Value::from_function(tests::is_sameas)),
        ("sequence", Value::from_function(tests::is_sequence)),
        ("startingwith", Value::from_function(tests::is_startingwith)),
        ("string", Value::from_function(tests::is_string)),
        ("test", Value::from_function(tests::is_test)),
        ("true", Value::from_function(tests::is_true)),
        ("upper", Value::from_function(tests::is_upper)),
    ]
}

#[cfg(test)]
mod checks {
    use super::*;

    /// What the engine has by itself: its `Debug` is all that lists it.
    fn built_in(field: &str) -> Vec<String> {
        let shown = format!("{:?}", Environment::new());
        let start = shown.find(&format!("{field}: [")).unwrap();
        let list = &shown[start + field.len() + 3..];
        let names = list[..list.find(']').unwrap()].split(", ");
        names
            .map(|name| name.trim_matches('"').to_owned())
            .collect()
    }

    #[test]
    fn no_built_in_is_without_its_guard() {
        let guarded = |named: Vec<(&'static str, Value)>| -> Vec<&str> {
            named.into_iter().map(|(name, _)| name).collect()
        };
        let mut filters = built_in("filters");
        filters.retain(|name| name != "default" && name != "d");
        assert_eq!(guarded(built_in_filters()), filters);
        let mut tests = built_in("tests");
        tests.retain(|name| name != "defined" && name != "undefined");
        assert_eq!(guarded(built_in_tests()), tests);
    }
}
