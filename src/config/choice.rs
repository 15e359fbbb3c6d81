//! Enums whose values are words, in KDL and in serialised form alike.

/// Defines an enum whose values are words in KDL and in serialised form alike.
#[macro_export]
macro_rules! choice {
    ($(#[$doc:meta])* $type:ident { $($(#[$inner:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $type {
            $($(#[$inner])* #[serde(rename = $word)] $variant,)*
        }

        impl $type {
            /// All words, in the order of their meaning.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word as it is written.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl $crate::config::FromScalar for $type {
            const EXPECTED: &'static str = $crate::one_of!($($word),*);
            const EXAMPLE: &'static str = concat!("\"", $crate::first_word!($($word),*), "\"");
            fn from_scalar(scalar: &$crate::config::Scalar) -> Result<Self, $crate::config::Mismatch> {
                match scalar {
                    $($crate::config::Scalar::String(text) if text == $word => Ok(Self::$variant),)*
                    $crate::config::Scalar::String(text) => Err($crate::config::Mismatch::not_one_of(text, Self::WORDS)),
                    _ => Err($crate::config::Mismatch::default()),
                }
            }
        }
    };
}

/// Several literals as a message lists them.
#[doc(hidden)]
#[macro_export]
macro_rules! one_of {
    ($first:literal $(, $rest:literal)*) => {
        concat!("one of \"", $first, "\"" $(, ", \"", $rest, "\"")*)
    };
}

/// The first of several literals, where a macro needs a literal.
#[doc(hidden)]
#[macro_export]
macro_rules! first_word {
    ($first:literal $(, $rest:literal)*) => {
        $first
    };
}

use super::problem::nearest;
use super::scalar::Mismatch;

impl Mismatch {
    /// Says which words there are, and which was probably meant.
    #[must_use]
    pub fn not_one_of(text: &str, words: &[&str]) -> Self {
        let near = nearest(text, words.iter().copied());
        Self {
            label: Some(format!("found {text:?}")),
            help: near.map(|near| format!("did you mean \"{near}\"?")),
        }
    }
}
