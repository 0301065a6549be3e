//! Plain scalars by YAML 1.2's core schema (section 10.3.2): no `yes`, no `1_000`, no dates.

use crate::tree::{Filled, Value};

/// What an unquoted scalar stands for.
pub(crate) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    if let Some(int) = int(text) {
        return int;
    }
    if let Some(float) = float(text) {
        return Value::Float(float);
    }
    Value::Text(Filled::plain(text))
}

fn int(text: &str) -> Option<Value> {
    let (digits, radix) = if let Some(hex) = text.strip_prefix("0x") {
        (hex, 16)
    } else if let Some(octal) = text.strip_prefix("0o") {
        (octal, 8)
    } else {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        // Beyond what JSON carries exactly: a number still, though not a whole one of ours.
        return Some(match text.parse::<i128>() {
            Ok(int) if int >= i64::MIN.into() && int <= u64::MAX.into() => Value::Int(int),
            _ => Value::Float(text.parse().unwrap_or(f64::INFINITY)),
        });
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    match u64::from_str_radix(digits, radix) {
        Ok(int) => Some(Value::Int(int.into())),
        Err(_) => Some(Value::Float(f64::INFINITY)),
    }
}

fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
        return Some(sign * f64::INFINITY);
    }
    // Rust's own grammar also takes `inf`, `infinity` and `nan`.
    let number = unsigned
        .bytes()
        .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    if !number || !unsigned.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_schema() {
        let check = |text: &str, expect: &str| {
            assert_eq!(format!("{:?}", resolve(text)), expect, "{text}");
        };
        check("12", "Int(12)");
        check("-7", "Int(-7)");
        check("0x1F", "Int(31)");
        check("0o17", "Int(15)");
        check("017", "Int(17)");
        check("0.1", "Float(0.1)");
        check("1e3", "Float(1000.0)");
        check(".5", "Float(0.5)");
        check("-.inf", "Float(-inf)");
        check("99999999999999999999999", "Float(1e23)");
        check("~", "Null");
        check("True", "Bool(true)");
        for text in [
            "yes",
            "no",
            "on",
            "0.1.0",
            "1_000",
            "inf",
            "nan",
            "0x",
            "+",
            ".",
            "e",
            "1m",
            "2026-01-01",
        ] {
            assert!(matches!(resolve(text), Value::Text(_)), "{text}");
        }
    }
}
