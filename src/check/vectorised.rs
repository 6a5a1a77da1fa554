//! Functions that are compiled for several kinds of processors.

/// Defines a function whose loops use the widest vectors of the processor that runs it. What it calls does, too, as far as it is
/// always inlined.
///
/// The body is no closure because only a function can be inlined without fail, and code that is not inlined into what pulp
/// compiles for a processor is compiled for the oldest.
macro_rules! vectorised {
    ($(#[$meta:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $output:ty $body:block) => {
        $(#[$meta])*
        fn $name($($argument: $type),*) -> $output {
            struct Call<A>(A);

            impl pulp::NullaryFnOnce for Call<($($type,)*)> {
                type Output = $output;

                #[inline(always)]
                fn call(self) -> $output {
                    let ($($argument,)*) = self.0;
                    $body
                }
            }

            pulp::Arch::new().dispatch(Call(($($argument,)*)))
        }
    };
}

pub(super) use vectorised;
