;; Wants to be answered where no memory is.
;;; outer
(import "gregor:task/state@0.1.0" (instance $state
    (export "store" (type $store (sub resource)))
    (export "cursor" (type $cursor (sub resource)))
    (type $what (variant
        (case "no-such-store" string) (case "too-large" u64) (case "not-a-counter" u64) (case "overflow") (case "invalid-columns" string)))
    (export "error" (type $error (eq $what)))
    (type $bounds (record (field "start" (option (list u8))) (field "end" (option (list u8))) (field "reverse" bool)))
    (export "range" (type $range (eq $bounds)))
    (export "[method]store.delete" (func (param "self" (borrow $store)) (param "key" (list u8)) (result (result (error $error)))))
    (export "[method]store.scan" (func (param "self" (borrow $store)) (param "range" $range) (result (result (own $cursor) (error $error)))))
    (export "open" (func (param "name" string) (result (result (own $store) (error $error)))))))
(alias export $state "store" (type $store))
(alias export $state "cursor" (type $cursor))
(alias export $state "open" (func $open))
(alias export $state "[method]store.delete" (func $delete))
(alias export $state "[method]store.scan" (func $scan))
(core func $open (canon lower (func $open) (memory $libc "memory") (realloc (func $libc "realloc"))))
(core func $delete (canon lower (func $delete) (memory $libc "memory") (realloc (func $libc "realloc"))))
(core func $scan (canon lower (func $scan) (memory $libc "memory") (realloc (func $libc "realloc"))))
(core func $drop (canon resource.drop $store))
(core func $drop-cursor (canon resource.drop $cursor))
(core instance $host
    (export "open" (func $open)) (export "delete" (func $delete)) (export "scan" (func $scan))
    (export "drop" (func $drop)) (export "drop-cursor" (func $drop-cursor)))
;;; inner
(import "host" "open" (func $open (param i32 i32 i32)))
(import "host" "delete" (func $delete (param i32 i32 i32 i32)))
(import "host" "scan" (func $scan (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
(import "host" "drop" (func $drop (param i32)))
(import "host" "drop-cursor" (func $drop-cursor (param i32)))
(func $opened (result i32)
    (call $open (i32.const 1033) (i32.const 1) (i32.const 512))
    (i32.load (i32.const 520)))
;;; process
(call $delete (call $opened) (i32.const 1033) (i32.const 1) (i32.const -8))
