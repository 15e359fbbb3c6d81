//! A word that the program's own kinds know as a constant, and that a further kind may add to.

/// Declares such a word: a newtype that is read and written as its text.
macro_rules! word {
    ($(#[$documentation:meta])* $name:ident {
        $($(#[$constant_documentation:meta])* $constant:ident = $text:literal;)*
    }) => {
        $(#[$documentation])*
        #[derive(
            Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(std::borrow::Cow<'static, str>);

        impl $name {
            $($(#[$constant_documentation])*
            pub const $constant: Self = Self::new($text);)*

            /// A further kind.
            #[must_use]
            pub const fn new(word: &'static str) -> Self {
                Self(std::borrow::Cow::Borrowed(word))
            }

            /// The word.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(&self.0)
            }
        }
    };
}

pub(super) use word;
