//! Reading numbers and absent things the way many servers write them.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde_json::Value;

/// Reads a JSON object. Without this a list would do for any struct, its members in order.
pub(crate) fn object<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Result<T, serde_json::Error> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        serde_json::from_slice::<serde_json::Map<_, _>>(json)?;
    }
    serde_json::from_slice(json)
}

/// Reads `null` as the default of the type.
pub(crate) fn null_is_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// Reads a count that may come as an integer, a float or a text; `null`, negative and unreadable
/// ones are zero: a count that cannot be read must not fail the answer that it stands in.
pub(crate) fn count<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    Ok(from.deserialize_any(Number)?.map_or(0, |n| n as u64))
}

/// Reads an optional amount that may come as an integer, a float or a text.
pub(crate) fn amount<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    from.deserialize_any(Number)
}

/// Reads an amount in a tree of values: a number, or a text with one in it.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.trim().parse().ok().filter(|n: &f64| n.is_finite()),
        value => value.as_f64(),
    }
}

struct Number;

impl<'de> Visitor<'de> for Number {
    type Value = Option<f64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a text with a number in it, or null")
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<Option<f64>, E> {
        Ok(Some(n as f64))
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<Option<f64>, E> {
        Ok(Some(n as f64))
    }

    fn visit_f64<E: de::Error>(self, n: f64) -> Result<Option<f64>, E> {
        Ok(Some(n))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<f64>, E> {
        Ok(text.trim().parse().ok().filter(|n: &f64| n.is_finite()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Option<f64>, E> {
        Ok(None)
    }

    fn visit_none<E: de::Error>(self) -> Result<Option<f64>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Option<f64>, D::Error> {
        from.deserialize_any(self)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Sample {
        #[serde(default, deserialize_with = "super::count")]
        count: u64,
        #[serde(default, deserialize_with = "super::amount")]
        amount: Option<f64>,
        #[serde(default, deserialize_with = "super::null_is_default")]
        list: Vec<u8>,
    }

    #[test]
    fn a_list_is_no_object() {
        assert!(super::object::<Sample>(b" {}").is_ok());
        for json in ["[]", "[1,2,[]]", "null", "", "7"] {
            assert!(super::object::<Sample>(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn numbers_come_in_any_dress() {
        for (json, count, amount) in [
            (r#"{}"#, 0, None),
            (r#"{"count":3,"amount":3}"#, 3, Some(3.0)),
            (
                r#"{"count":3.0,"amount":"0.25","list":null}"#,
                3,
                Some(0.25),
            ),
            (r#"{"count":-3,"amount":null}"#, 0, None),
            (r#"{"count":null,"amount":"much"}"#, 0, None),
            (r#"{"count":1e99}"#, u64::MAX, None),
        ] {
            let sample: Sample = serde_json::from_str(json).unwrap();
            assert_eq!((sample.count, sample.amount), (count, amount), "{json}");
            assert!(sample.list.is_empty());
        }
    }
}
