//! The macro that turns implementations of the phase traits into the exports of a component.
//!
//! Off wasm it only checks that the traits are implemented: the exports' names are not valid symbols for
//! native linkers, and a plugin's own tests must link.

/// Exports the named phases of a plugin type.
///
/// The phases are `lifecycle`, `request_mapper`, `cache_policy`, `signer`, `token_source`, `classifier`,
/// `response_mapper` and `error_mapper`; the type must implement the trait of each. Use it once per crate.
///
/// ```
/// use bascule_plugin::{Body, Fault, MappedRequest, Mapping, RequestHead, RequestMapper, export};
///
/// struct Tidy;
///
/// impl RequestMapper for Tidy {
///     fn map_request(mut draft: RequestHead, _: &Body) -> Result<Mapping, Fault> {
///         draft.set_header("accept", "application/json");
///         Ok(MappedRequest::unchanged(draft).into())
///     }
/// }
///
/// export!(Tidy: request_mapper);
/// # fn main() {}
/// ```
///
/// A phase whose trait is missing does not compile, on any target:
///
/// ```compile_fail
/// struct Nothing;
/// bascule_plugin::export!(Nothing: signer);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    ($plugin:ident : $($phase:ident),+ $(,)?) => {
        $( $crate::__export_phase!($plugin $phase); )+
    };
}

/// One phase of [`export!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __export_phase {
    ($plugin:ident lifecycle) => {
        $crate::__export_phase!(@ $plugin Lifecycle export_lifecycle lifecycle_world);
    };
    ($plugin:ident request_mapper) => {
        $crate::__export_phase!(@ $plugin RequestMapper export_request_mapper request_mapper_world);
    };
    ($plugin:ident cache_policy) => {
        $crate::__export_phase!(@ $plugin CachePolicy export_cache_policy cache_policy_world);
    };
    ($plugin:ident signer) => {
        $crate::__export_phase!(@ $plugin Signer export_signer signer_world);
    };
    ($plugin:ident token_source) => {
        $crate::__export_phase!(@ $plugin TokenSource export_token_source token_source_world);
    };
    ($plugin:ident classifier) => {
        $crate::__export_phase!(@ $plugin Classifier export_classifier classifier_world);
    };
    ($plugin:ident response_mapper) => {
        $crate::__export_phase!(@ $plugin ResponseMapper export_response_mapper response_mapper_world);
    };
    ($plugin:ident error_mapper) => {
        $crate::__export_phase!(@ $plugin ErrorMapper export_error_mapper error_mapper_world);
    };
    (@ $plugin:ident $trait:ident $export:ident $world:ident) => {
        const _: fn() = || {
            fn implements<T: $crate::$trait>() {}
            implements::<$plugin>();
        };
        #[cfg(target_arch = "wasm32")]
        $crate::generated::$world::$export!($plugin with_types_in $crate::generated::$world);
    };
    ($plugin:ident $other:ident) => {
        compile_error!(concat!("`", stringify!($other), "` is not a phase"));
    };
}
