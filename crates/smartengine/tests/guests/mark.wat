;; A map that makes MARK, one letter, of every value: which build of it a record went through can
;; be counted. It frees nothing and keeps nothing: the input is put at the same place each time.
(module
  (import "env" "copy_records" (func $copy (param i32 i32)))
  (memory (export "memory") 16)
  (func (export "alloc") (param i32) (result i32) (i32.const 4096))

  ;; The place after the varint at $at.
  (func $skip (param $at i32) (result i32)
    (loop $more
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $more (i32.and
        (i32.load8_u (i32.sub (local.get $at) (i32.const 1))) (i32.const 0x80))))
    (local.get $at))

  ;; The length that the zigzag varint at $at says.
  (func $length (param $at i32) (result i32)
    (local $value i32) (local $shift i32) (local $byte i32)
    (loop $more
      (local.set $byte (i32.load8_u (local.get $at)))
      (local.set $value (i32.or (local.get $value)
        (i32.shl (i32.and (local.get $byte) (i32.const 0x7f)) (local.get $shift))))
      (local.set $shift (i32.add (local.get $shift) (i32.const 7)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $more (i32.and (local.get $byte) (i32.const 0x80))))
    (i32.shr_u (local.get $value) (i32.const 1)))

  (func (export "map") (param $in i32) (param i32 i32) (result i32)
    (local $out i32) (local $count i32) (local $left i32) (local $end i32) (local $delta i32)
    ;; After base offset and length: the number of records, big-endian, below 65,536 here.
    (local.set $in (i32.add (local.get $in) (i32.const 12)))
    (local.set $out (i32.const 524288))
    (i32.store (local.get $out) (i32.load (local.get $in)))
    (local.set $count (i32.or
      (i32.shl (i32.load8_u offset=2 (local.get $in)) (i32.const 8))
      (i32.load8_u offset=3 (local.get $in))))
    (local.set $left (local.get $count))
    (local.set $in (i32.add (local.get $in) (i32.const 4)))
    (local.set $out (i32.add (local.get $out) (i32.const 4)))
    (block $done (loop $record
      (br_if $done (i32.eqz (local.get $left)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (local.set $end (call $length (local.get $in)))
      (local.set $in (call $skip (local.get $in)))
      (local.set $end (i32.add (local.get $end) (local.get $in)))
      ;; Attributes, timestamp delta; the offset delta is copied.
      (local.set $in (call $skip (i32.add (local.get $in) (i32.const 1))))
      (local.set $delta (i32.sub (call $skip (local.get $in)) (local.get $in)))
      (i32.store8 (local.get $out)
        (i32.shl (i32.add (local.get $delta) (i32.const 6)) (i32.const 1)))
      (i32.store16 offset=1 (local.get $out) (i32.const 0))
      (local.set $out (i32.add (local.get $out) (i32.const 3)))
      (memory.copy (local.get $out) (local.get $in) (local.get $delta))
      (local.set $out (i32.add (local.get $out) (local.get $delta)))
      ;; No key, a value of one byte, no headers.
      (i32.store (local.get $out) (i32.const 0x00000200))
      (i32.store8 offset=2 (local.get $out) (i32.const MARK))
      (local.set $out (i32.add (local.get $out) (i32.const 4)))
      (local.set $in (local.get $end))
      (br $record)))
    ;; No error.
    (i32.store8 (local.get $out) (i32.const 0))
    (call $copy (i32.const 524288)
      (i32.sub (i32.add (local.get $out) (i32.const 1)) (i32.const 524288)))
    (local.get $count)))
