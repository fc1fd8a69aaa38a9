//! Tests of the text logic from outside: cases, properties, large texts and coverage of labelled data.

mod cases;
mod coverage;
mod large;
mod properties;
