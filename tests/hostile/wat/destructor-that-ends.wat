;; The same with a destructor that does come back. It harms nobody.
;;; outer
(core module $d (func $destructor (export "d") (param i32)))
(core instance $d (instantiate $d))
(type $thing (resource (rep i32) (dtor (func $d "d"))))
(core func $new (canon resource.new $thing))
(core func $drop (canon resource.drop $thing))
(core instance $host (export "new" (func $new)) (export "drop" (func $drop)))
;;; inner
(import "host" "new" (func $new (param i32) (result i32)))
(import "host" "drop" (func $drop (param i32)))
;;; process
(call $drop (call $new (i32.const 7)))
