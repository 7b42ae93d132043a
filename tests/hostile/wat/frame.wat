;; The smallest component that the door lets in: input `in`, output `out`, store `s`, no work. A hostile one is this with some of its parts
;; replaced: each other file here holds lines `;;; NAME`, and below each what takes the place of `{NAME}`. Of what a file leaves out, the text
;; after the name stands here. Memory from 256 to 1023 is free, and zero: an answer at 256 says "all is well".
(component
    {first:}
    (core module $libc
        {libc:}
        (memory (export "memory") 2)
        (global $top (mut i32) (i32.const 65536))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
            {realloc:}
            (local.set $at (i32.and
                (i32.add (global.get $top) (i32.sub (local.get 2) (i32.const 1)))
                (i32.sub (i32.const 0) (local.get 2))))
            (global.set $top (i32.add (local.get $at) (local.get 3)))
            (local.get $at)))
    (core instance $libc (instantiate $libc {with:}))
    {outer:(core instance $host)}
    (core module $main
        (import "libc" "memory" (memory 2))
        {inner:}
        (func $describe (export "describe") (result i32) {describe:} (i32.const 1092))
        (func $process (export "process") (param $list i32) (param $len i32) (result i32) {process:} (i32.const 256))
        (func $after (export "after") (param i32) {after:})
        (data (i32.const 1024) "wat1inouts")
        (data (i32.const 1040) "\04\04\00\00\02\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00")
        (data (i32.const 1060) "\06\04\00\00\03\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00")
        (data (i32.const 1080) "\09\04\00\00\01\00\00\00\01\00\00\00")
        (data (i32.const 1092)
            "\00\04\00\00\03\00\00\00\03\04\00\00\01\00\00\00\10\04\00\00\01\00\00\00\24\04\00\00\01\00\00\00\38\04\00\00\01\00\00\00"))
    (core instance $main (instantiate $main (with "libc" (instance $libc)) (with "host" (instance $host))))

    (type $port (record (field "name" string) (field "schema" (option string))))
    (type $store-spec (record (field "name" string) (field "schema-version" u32)))
    (type $descriptor (record
        (field "name" string) (field "version" string)
        (field "inputs" (list $port)) (field "outputs" (list $port)) (field "stores" (list $store-spec))))
    (func $describe (result $descriptor) (canon lift (core func $main "describe") (memory $libc "memory")))
    (instance $describe-interface
        (export "port" (type $port)) (export "store-spec" (type $store-spec)) (export "descriptor" (type $descriptor))
        (export "describe" (func $describe)))
    (export "gregor:task/describe@0.1.0" (instance $describe-interface))

    (type $header (record (field "name" string) (field "value" (list u8))))
    (type $input-record (record
        (field "input" u32) (field "partition" u32) (field "offset" u64) (field "timestamp" s64)
        (field "key" (option (list u8))) (field "value" (option (list u8))) (field "headers" (list $header))))
    (type $disposition (enum "skip" "dead-letter"))
    (type $rejection (record (field "index" u32) (field "action" $disposition) (field "reason" string)))
    (type $task-error (variant (case "retryable" string) (case "poison" string) (case "fatal" string)))
    (func $process (param "batch" (list $input-record)) (result (result (list $rejection) (error $task-error)))
        (canon lift (core func $main "process") (memory $libc "memory") (realloc (func $libc "realloc"))
            (post-return (func $main "after"))))
    (instance $simple-processor
        (export "header" (type $header)) (export "input-record" (type $input-record)) (export "disposition" (type $disposition))
        (export "rejection" (type $rejection)) (export "task-error" (type $task-error))
        (export "process" (func $process)))
    (export "gregor:task/simple-processor@0.1.0" (instance $simple-processor)))
