//! Reading numbers and absent things the way many servers write them.

use std::fmt;

use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, Visitor};
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

/// Reads what is no `T` as nothing: in a list of thousands, one odd member costs only itself.
pub(crate) fn odd_is_none<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    Ok(T::deserialize(Value::deserialize(from)?).ok())
}

/// Reads what is no `T` as its default.
pub(crate) fn odd_is_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    Ok(odd_is_none(from)?.unwrap_or_default())
}

/// Reads the items of a list that are `T`s; what is no list has none.
pub(crate) fn items<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let list = match Value::deserialize(from)? {
        Value::Array(list) => list,
        _ => Vec::new(),
    };
    Ok(list
        .into_iter()
        .filter_map(|item| T::deserialize(item).ok())
        .collect())
}

/// Reads an optional number in any dress; what is none is nothing.
pub(crate) fn optional_amount<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    Ok(amount(Value::deserialize(from)?).unwrap_or_default())
}

/// Reads an optional count in any dress; what is none, or negative, is nothing.
pub(crate) fn optional_count<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(optional_amount(from)?
        .filter(|n| *n >= 0.0)
        .map(|n| n as u64))
}

/// Defines a struct that is read leniently, member by member, with what is unknown kept in `extra`.
/// Each line is a member: `name: kind Type;` where `kind` is `some` (an option), `plain` (its default
/// where absent), `items` (those items of a list that read), `count` or `number` (options, in any
/// dress).
macro_rules! lenient_object {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$fmeta:meta])* $field:ident $(= $wire:literal)? : $kind:ident $ty:ty;)*
        }
    ) => {
        crate::lenient::lenient_object!(@struct [$(#[$meta])*] $name {}
            $($(#[$fmeta])* $field $(= $wire)? : $kind $ty;)*);
    };
    (@struct [$($meta:tt)*] $name:ident { $($done:tt)* }) => {
        $($meta)*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            $($done)*
            /// Every other field.
            #[serde(flatten)]
            pub extra: serde_json::Map<String, serde_json::Value>,
        }
    };
    (@struct $meta:tt $name:ident { $($done:tt)* }
        $(#[$fmeta:meta])* $field:ident $(= $wire:literal)? : some $ty:ty; $($rest:tt)*) => {
        crate::lenient::lenient_object!(@struct $meta $name { $($done)*
            $(#[$fmeta])*
            #[serde($(rename = $wire,)? default, skip_serializing_if = "Option::is_none",
                deserialize_with = "crate::lenient::odd_is_none")]
            pub $field: Option<$ty>,
        } $($rest)*);
    };
    (@struct $meta:tt $name:ident { $($done:tt)* }
        $(#[$fmeta:meta])* $field:ident $(= $wire:literal)? : plain $ty:ty; $($rest:tt)*) => {
        crate::lenient::lenient_object!(@struct $meta $name { $($done)*
            $(#[$fmeta])*
            #[serde($(rename = $wire,)? default,
                deserialize_with = "crate::lenient::odd_is_default")]
            pub $field: $ty,
        } $($rest)*);
    };
    (@struct $meta:tt $name:ident { $($done:tt)* }
        $(#[$fmeta:meta])* $field:ident $(= $wire:literal)? : items $ty:ty; $($rest:tt)*) => {
        crate::lenient::lenient_object!(@struct $meta $name { $($done)*
            $(#[$fmeta])*
            #[serde($(rename = $wire,)? default, skip_serializing_if = "Vec::is_empty",
                deserialize_with = "crate::lenient::items")]
            pub $field: Vec<$ty>,
        } $($rest)*);
    };
    (@struct $meta:tt $name:ident { $($done:tt)* }
        $(#[$fmeta:meta])* $field:ident $(= $wire:literal)? : count $ty:ty; $($rest:tt)*) => {
        crate::lenient::lenient_object!(@struct $meta $name { $($done)*
            $(#[$fmeta])*
            #[serde($(rename = $wire,)? default, skip_serializing_if = "Option::is_none",
                deserialize_with = "crate::lenient::optional_count")]
            pub $field: Option<$ty>,
        } $($rest)*);
    };
    (@struct $meta:tt $name:ident { $($done:tt)* }
        $(#[$fmeta:meta])* $field:ident $(= $wire:literal)? : number $ty:ty; $($rest:tt)*) => {
        crate::lenient::lenient_object!(@struct $meta $name { $($done)*
            $(#[$fmeta])*
            #[serde($(rename = $wire,)? default, skip_serializing_if = "Option::is_none",
                deserialize_with = "crate::lenient::optional_amount")]
            pub $field: Option<$ty>,
        } $($rest)*);
    };
}

pub(crate) use lenient_object;

/// Reads what may be there; what is of another type is as good as absent.
pub(crate) fn maybe<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    Ok(T::deserialize(Value::deserialize(from)?).ok())
}

/// The same, with the default of the type for what is absent.
pub(crate) fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: serde::de::DeserializeOwned + Default,
{
    Ok(maybe(from)?.unwrap_or_default())
}

/// Reads a list; what is of another type is left out, and no list is an empty one.
pub(crate) fn list<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    let Value::Array(list) = Value::deserialize(from)? else {
        return Ok(Vec::new());
    };
    Ok(list
        .into_iter()
        .filter_map(|entry| T::deserialize(entry).ok())
        .collect())
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
