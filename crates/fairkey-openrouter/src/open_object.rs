//! JSON objects that stay open: every documented member has a field and a setter with an example,
//! and what this version does not know is kept in `extra` and written again.

/// Defines a struct of optional members. Each line is a member:
///
/// `name [as method]: kind Type = example => json;`
///
/// `kind` says what the setter takes: a `value` of the type, something that is turned `into` it, or
/// a `list` of things that are turned into the type's items. Setter and example become a doc test,
/// with `json` as what has to stand on the wire. `@fixed { … }` holds fields with attributes of their
/// own, which are written first; a struct without them gets a `new`.
macro_rules! open_object {
    (
        $(#[$meta:meta])*
        pub struct $name:ident as in $new:literal {
            $(@fixed { $($fixed:tt)* })?
            $(
                $(#[$fmeta:meta])*
                $field:ident $(as $method:ident)? : $kind:ident $ty:ty = $example:expr => $json:tt;
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            $($($fixed)*)?
            $(
                $(#[$fmeta])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $field: Option<crate::open_object::member!($kind $ty)>,
            )*
            /// Every other field, known to OpenRouter or not.
            #[serde(flatten)]
            pub extra: serde_json::Map<String, serde_json::Value>,
        }

        impl $name {
            crate::open_object::new!($([$($fixed)*])?);
            $(
                crate::open_object::setter!(
                    $kind ($field $(, $method)?) $ty, $name, $new, $example, $json
                );
            )*

            /// Sets any other field.
            ///
            /// A name that is also a typed field of this struct must not be given here: it would
            /// stand in the body twice.
            ///
            /// ```
            #[doc = concat!("use fairkey_openrouter::*;\n\n",
                "let value = ", $new, ".with(\"a_new_field\", 7);\n",
                "assert_eq!(serde_json::to_value(&value)?[\"a_new_field\"], 7);")]
            /// # Ok::<(), serde_json::Error>(())
            /// ```
            #[must_use]
            pub fn with(
                mut self,
                field: impl Into<String>,
                value: impl Into<serde_json::Value>,
            ) -> Self {
                self.extra.insert(field.into(), value.into());
                self
            }
        }
    };
}

macro_rules! new {
    () => {
        /// Returns an object that says nothing.
        #[must_use]
        pub fn new() -> Self {
            Self::default()
        }
    };
    ([$($fixed:tt)*]) => {};
}

macro_rules! setter {
    ($kind:ident ($field:ident) $($rest:tt)*) => {
        crate::open_object::setter!($kind ($field, $field) $($rest)*);
    };
    (value ($field:ident, $method:ident) $ty:ty, $name:ident, $new:literal, $example:expr, $json:tt) => {
        #[doc = crate::open_object::example!($field, $method, $new, $example, $json)]
        #[must_use]
        pub fn $method(mut self, value: $ty) -> Self {
            self.$field = Some(value);
            self
        }
    };
    (into ($field:ident, $method:ident) $ty:ty, $name:ident, $new:literal, $example:expr, $json:tt) => {
        #[doc = crate::open_object::example!($field, $method, $new, $example, $json)]
        #[must_use]
        pub fn $method(mut self, value: impl Into<$ty>) -> Self {
            self.$field = Some(value.into());
            self
        }
    };
    (list ($field:ident, $method:ident) $item:ty, $name:ident, $new:literal, $example:expr, $json:tt) => {
        #[doc = crate::open_object::example!($field, $method, $new, $example, $json)]
        #[must_use]
        pub fn $method<T: Into<$item>>(mut self, values: impl IntoIterator<Item = T>) -> Self {
            self.$field = Some(values.into_iter().map(Into::into).collect());
            self
        }
    };
}

macro_rules! example {
    ($field:ident, $method:ident, $new:literal, $example:expr, $json:tt) => {
        concat!(
            "Sets [`",
            stringify!($field),
            "`](field@Self::",
            stringify!($field),
            ").\n\n```\nuse fairkey_openrouter::*;\n# use serde_json::json;\n\nlet value = ",
            $new,
            ".",
            stringify!($method),
            "(",
            stringify!($example),
            ");\nassert_eq!(serde_json::to_value(&value)?[\"",
            stringify!($field),
            "\"], json!(",
            stringify!($json),
            "));\n# Ok::<(), serde_json::Error>(())\n```"
        )
    };
}

macro_rules! member {
    (list $item:ty) => { Vec<$item> };
    ($kind:ident $ty:ty) => { $ty };
}

/// Gives a request its two ways between JSON and bytes.
macro_rules! body {
    ($name:ident) => {
        impl $name {
            /// Reads a request from JSON.
            ///
            /// # Errors
            ///
            /// Where the text is no JSON object, or a known field has another type than documented.
            pub fn from_slice(json: &[u8]) -> Result<Self, serde_json::Error> {
                crate::lenient::object(json)
            }

            /// Returns the body to send. The same request gives the same bytes.
            #[must_use]
            pub fn to_bytes(&self) -> bytes::Bytes {
                // Serialising fails on maps whose keys are no strings only: there is none in here.
                bytes::Bytes::from(serde_json::to_vec(self).unwrap_or_default())
            }
        }
    };
}

pub(crate) use {body, example, member, new, open_object, setter};
