//! Output that contradicts itself or the batch: each deed lies about one column. Refuses modes that are no lies.

use crate::gregor::task::output;
use crate::gregor::task::types::{HeaderColumns, OutputBatch};

/// A batch of no records on the first output, to be filled in.
pub(crate) fn nothing() -> OutputBatch {
    OutputBatch {
        outputs: vec![0],
        causes: Vec::new(),
        timestamps: Vec::new(),
        partitions: Vec::new(),
        data: Vec::new(),
        key_ends: Vec::new(),
        value_ends: Vec::new(),
        nulls: Vec::new(),
        headers: None,
    }
}

/// Two records, (a, b) and (c, d), without a lie.
fn two() -> OutputBatch {
    OutputBatch { data: b"abcd".to_vec(), key_ends: vec![1, 3], value_ends: vec![2, 4], ..nothing() }
}

/// Emits the lie that `mode` names; none if it is no lie.
pub(crate) fn emit(mode: &str) -> Option<()> {
    let headers = |counts, name_ends, value_ends| Some(HeaderColumns { counts, data: b"nv".to_vec(), name_ends, value_ends });
    let batch = match mode {
        "lying-ends" => OutputBatch { value_ends: vec![2, 5], ..two() },
        "lying-falling-ends" => OutputBatch { key_ends: vec![1, 1], ..two() },
        "lying-short-ends" => OutputBatch { value_ends: vec![2], ..two() },
        "lying-trailing" => OutputBatch { data: b"abcde".to_vec(), ..two() },
        "lying-nulls" => OutputBatch { nulls: vec![0, 0], ..two() },
        "lying-null-bits" => OutputBatch { nulls: vec![0xf0], ..two() },
        "lying-null-bytes" => OutputBatch { nulls: vec![1], ..two() },
        "lying-causes" => OutputBatch { causes: vec![0, 1_000_000], ..two() },
        "lying-cause-count" => OutputBatch { causes: vec![0, 0, 0], ..two() },
        "lying-outputs" => OutputBatch { outputs: vec![0, 1], ..two() },
        "lying-output-count" => OutputBatch { outputs: vec![0, 0, 0], ..two() },
        "lying-timestamps" => OutputBatch { timestamps: vec![7], ..two() },
        "lying-partitions" => OutputBatch { partitions: vec![0], ..two() },
        "lying-partition-range" => OutputBatch { partitions: vec![0, -2], ..two() },
        "lying-header-counts" => OutputBatch { headers: headers(vec![1], vec![1], vec![2]), ..two() },
        "lying-header-ends" => OutputBatch { headers: headers(vec![1, 0], vec![3], vec![2]), ..two() },
        "lying-header-names" => OutputBatch {
            headers: Some(HeaderColumns { counts: vec![1, 0], data: vec![0xff, 0], name_ends: vec![1], value_ends: vec![2] }),
            ..two()
        },
        "huge-key" => {
            let data = vec![b'k'; 1024 * 1024 + 1];
            let end = u32::try_from(data.len()).unwrap();
            OutputBatch { data, key_ends: vec![end], value_ends: vec![end], ..nothing() }
        }
        "huge-value" => {
            let data = vec![b'v'; 16 * 1024 * 1024 + 1];
            let end = u32::try_from(data.len()).unwrap();
            OutputBatch { data, key_ends: vec![0], value_ends: vec![end], ..nothing() }
        }
        _ => return None,
    };
    output::emit_batch(&batch);
    Some(())
}
