#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rr_fuzz_scenarios::recording(bytes));
