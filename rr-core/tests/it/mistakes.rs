//! Messages for mistakes: for each program of `tests/ui`, what the compiler says, in the file of the
//! same name.
//!
//! The texts are those of rustc 1.95; another version words some of them differently. To write them
//! anew after a change, and read the difference before it is committed:
//!
//! ```text
//! TRYBUILD=overwrite cargo test -p rr-core --features macros,memory --test it mistakes::
//! ```
//!
//! The first line of a message names the mistake. These first lines are rustc's own, and no
//! attribute of a trait changes them:
//!
//! | mistake | first line |
//! |---|---|
//! | a closure that moves its state into the first call | expected a closure that implements the `Fn` trait |
//! | a closure whose error type is not named | type annotations needed |
//! | `?` on an error of a library | `?` couldn't convert the error; the label has what to write |
//! | `?` on a call without `.await` | the `?` operator can only be applied to values that implement `Try` |
//! | a middleware without `#[async_trait]` | lifetime parameters or bounds do not match the trait declaration |

#![cfg(feature = "macros")]

#[test]
fn the_compiler_names_each_mistake() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
