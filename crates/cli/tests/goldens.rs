//! What the command line says, word for word: every verb's help, what a good and a bad file give.
//!
//! `TRYCMD=overwrite cargo test -p gristmill --test goldens` writes them anew; read the diff.

#[test]
fn goldens() {
    trycmd::TestCases::new()
        .register_bin("gristmill", trycmd::cargo::cargo_bin!("gristmill"))
        .default_bin_name("gristmill")
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .case("tests/cmd/*.toml")
        .case("tests/cmd/*.trycmd");
}
