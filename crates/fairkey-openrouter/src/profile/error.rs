//! What can be wrong with a profile, or with a request that names one.

use std::error::Error;
use std::fmt;

/// What is wrong with a profile, or with a request that names one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProfileError {
    /// A name that no profile can have.
    Name(String),
    /// A profile without a model.
    NoModel(String),
    /// A profile that names another one.
    Nested(String, String),
    /// A request names a profile that there is not.
    Unknown {
        /// The name.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// A request names two profiles.
    Two,
    /// The tenant may not use the profile.
    NotAllowed(String),
    /// Profile and request together leave nothing of a field of `provider`.
    Nothing {
        /// The profile.
        name: String,
        /// The field.
        field: &'static str,
    },
    /// The `provider` of the request is not what it should be.
    Provider,
    /// The body is no JSON object.
    Body,
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                f,
                "{name:?} cannot be the name of a route: it has up to 64 letters, digits, \"-\", \
                 \"_\" and \".\""
            ),
            Self::NoModel(name) => write!(f, "route {name:?} has no model: name at least one"),
            Self::Nested(name, other) => write!(
                f,
                "route {name:?} has the route {other:?} as a model: name that one's models"
            ),
            Self::Unknown { name, known } if known.is_empty() => {
                write!(f, "there is no route {name:?}, nor any other")
            }
            Self::Unknown { name, known } => write!(
                f,
                "there is no route {name:?}; those there are: {}",
                known.join(", ")
            ),
            Self::Two => f.write_str("the request names two routes: name one"),
            Self::NotAllowed(name) => write!(f, "route {name:?} is not allowed to this client"),
            Self::Nothing { name, field } => write!(
                f,
                "route {name:?} and the request leave nothing of provider.{field}: leave it out of \
                 the request, or name what the route allows"
            ),
            Self::Provider => f.write_str(
                "the request's \"provider\" is no object of provider preferences, so that no \
                 route can be merged with it",
            ),
            Self::Body => f.write_str("the request is no JSON object"),
        }
    }
}

impl Error for ProfileError {}
