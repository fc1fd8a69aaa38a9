//! Tests of the text logic from outside: cases, properties, large texts and coverage of labelled data.

mod cases;
mod clock;
mod coverage;
mod large;
mod linear;
mod properties;
