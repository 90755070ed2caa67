//! Situations of other people's builds: public bug reports, sandboxes, languages, package builders. A module for each
//! kind of fault that they showed.

mod arguments;
mod clocks;
mod daemons;
mod guards;
mod keepers;
mod namespaces;
mod pools;
mod programs;
mod sandboxes;
mod surroundings;

use crate::lanes::sleeping;
use crate::Test;

pub fn tests() -> Vec<Test> {
    let kinds = [
        programs::tests(),
        arguments::tests(),
        clocks::tests(),
        guards::tests(),
        keepers::tests(),
        namespaces::tests(),
        sandboxes::tests(),
        surroundings::tests(),
        daemons::tests(),
    ];
    let mut list = pools::tests();
    list.extend(sleeping(kinds.into_iter().flatten().collect()));
    list
}
