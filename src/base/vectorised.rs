//! Functions that are compiled for several instruction sets, one of which is chosen at run time.

/// Defines a function whose loops use the widest SIMD instructions of the processor that runs it. The same holds for
/// the functions that it calls if they are `#[inline(always)]`.
///
/// The body is not a closure because only functions can be forced inline, and code that is not inlined into pulp's
/// dispatch is compiled for the baseline instruction set.
macro_rules! vectorised {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block) => {
        $crate::base::vectorised! { $(#[$meta])* $vis fn $name($($argument: $type),*) -> () $body }
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $output:ty $body:block) => {
        $(#[$meta])*
        $vis fn $name($($argument: $type),*) -> $output {
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

pub(crate) use vectorised;
