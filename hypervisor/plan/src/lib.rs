//! Config text to a validated Plan, or a Refusal with its place and its mend.
#![no_std]
