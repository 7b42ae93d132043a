//! A job whose checkpoints are random, in a real archive: what tests of histories and of reach stand on. It takes segments, bases and merged deltas as
//! the model seals them, aborts some checkpoints, starts anew now and then, and leaves behind what nobody names. Refuses to judge what it made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use gregor_model::digest::Digest;
use gregor_model::history::{History, TaskHistory};
use gregor_model::job::{CheckpointSettings, Format, Input, Job, OnError, Output, Sink, Source, Stage, Store as JobStore};
use gregor_model::keys::JobKeys;
use gregor_model::limits::Limits;
use gregor_model::manifest::{Base, BaseEntry, BaseFile, Full, Manifest, ManifestRef, ObjectRef};
use gregor_model::names::{
    Attempt, Boot, CheckpointNumber, Incarnation, JobName, PortName, SavepointName, Sequence, StageName, StoreName, StreamName, TaskId,
};
use gregor_model::part::PartBuilder;
use gregor_model::plan::{PLAN, Plan};
use gregor_model::register::{Register, StreamRecord};
use gregor_model::seal::{SavedGroup, SavedMerge, SavedMerges, SavedPart, SavedSegment, Sealing, seal};
use gregor_model::segment::{DeltaContent, DeltaHeader, InputProgress, OnEnd, Position, Run, RunsHeader, SegmentHeader};
use gregor_model::snapshot::Pages;
use gregor_model::spec::{MARKER, Marker, PlanRef, SPEC, Spec};
use gregor_model::start::Begin;
use gregor_model::steps::Unobserved;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, RngCore as _, SeedableRng as _};

use crate::history::{write_full, write_manifest};
use crate::local::LocalStore;
use crate::object::create_document;
use crate::store::Store as _;

/// Every how many numbers a full manifest is written: often, so that short jobs have several.
const FULL_EVERY: u64 = 7;
/// Restore points that are kept.
pub(crate) const KEEP: u32 = 3;
/// Tasks of each of the two stages.
const TASKS: u32 = 3;
const JOB: &str = "wordcount";

/// The job. See the module.
pub(crate) struct RandomJob {
    pub(crate) store: LocalStore,
    pub(crate) keys: JobKeys,
    pub(crate) register: Register,
    pub(crate) spec: Spec,
    /// What was confirmed, folded as it went.
    pub(crate) history: History,
    /// The same after each checkpoint that was confirmed.
    pub(crate) confirmed: BTreeMap<CheckpointNumber, History>,
    random: StdRng,
    objects: u64,
    full: (CheckpointNumber, Option<Full>),
}

impl RandomJob {
    /// A job that has begun, in an archive in `folder`.
    pub(crate) async fn begin(folder: &Path, seed: u64) -> Self {
        let store = LocalStore::open(folder, Arc::new(Unobserved)).unwrap();
        let name = JobName::new(JOB).unwrap();
        let keys = JobKeys::new(&name, Incarnation(7));
        let mut register = Register::first(name.clone(), claim(1));
        create_document(&store, MARKER, &keys.marker(), &Marker { job: name, incarnation: Incarnation(7) }).await.unwrap();
        let plan = PLAN.encode(&Plan { files: vec![], partitions: vec![vec![]; 3] }).unwrap();
        let object = ObjectRef { key: keys.plan(Digest::of(&plan)), sha256: Digest::of(&plan) };
        store.create(&object.key, plan.into()).await.unwrap();
        let spec = Spec { job: job(), plans: vec![PlanRef { stage: 0, input: 0, object }] };
        let object = create_document(&store, SPEC, &keys.spec(Digest::of(b"spec")), &spec).await.unwrap();
        register.set_spec(&object).unwrap();
        let (history, confirmed) = (History::default(), BTreeMap::new());
        let random = StdRng::seed_from_u64(seed);
        Self { store, keys, register, spec, history, confirmed, random, objects: 0, full: (CheckpointNumber(0), None) }
    }

    /// Makes the next checkpoint, which is confirmed or aborted; before it, the job may be started anew, and leave things behind.
    pub(crate) async fn step(&mut self) {
        if self.random.random_ratio(1, 9) {
            self.register = self.register.clone().claimed(claim(self.register.boot.0 + 1));
        }
        if self.random.random_ratio(1, 4) {
            self.leave_behind().await;
        }
        let number = CheckpointNumber(self.register.created.0 + 1);
        self.register.create(number, number.0 * 1000, KEEP).unwrap();
        let manifest = self.seal(number).await;
        let key = self.keys.manifest(number, self.register.term, self.random.random_range(0..3));
        let object = write_manifest(&self.store, &key, &manifest).await.unwrap();
        if self.random.random_ratio(1, 6) {
            return self.register.abort(number).unwrap();
        }
        self.register.confirm(number, object).unwrap();
        self.history.apply(&manifest).unwrap();
        self.history.forget_read(&self.spec.job);
        self.confirmed.insert(number, self.history.clone());
        if manifest.full.is_some() {
            self.full = (number, manifest.full);
        }
    }

    /// Names a restore point, or forgets one that was named.
    pub(crate) fn name_or_forget(&mut self) {
        let name = SavepointName::new(format!("s{}", self.random.random_range(0..4))).unwrap();
        let kept = self.register.restore_points();
        if self.register.delete_savepoint(&name).is_err() && !kept.is_empty() {
            let at = self.random.random_range(0..kept.len());
            self.register.save_point(&name, kept[at].number, 0).unwrap();
        }
    }

    /// The last confirmed manifest.
    pub(crate) fn latest(&self) -> ManifestRef {
        self.register.latest.clone().expect("a checkpoint was confirmed")
    }

    /// A number below `bound`, of this job's randomness.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.random.random_range(0..bound)
    }

    async fn seal(&mut self, number: CheckpointNumber) -> Manifest {
        let groups = self.save_segments().await;
        let (mut bases, mut merges) = (vec![], vec![]);
        for (task, history) in self.history.tasks.clone() {
            match self.random.random_range(0..8) {
                0 if !history.chain.is_empty() => bases.push(self.save_base(task, &history).await),
                1 if history.chain.len() > 1 => merges.push(self.save_merge(task, &history).await),
                _ => {}
            }
        }
        let Register { incarnation, branch, term, latest: predecessor, .. } = self.register.clone();
        let (left_out, performed) = (BTreeSet::new(), BTreeSet::new());
        let created_at_ms = number.0 * 1000;
        let sealing = Sealing { number, incarnation, branch, term, created_at_ms, predecessor, left_out, performed, bases, merges };
        let (mut manifest, _) = seal(&self.history, &self.spec.job, sealing, &groups).unwrap();
        if number.0 - self.full.0.0 >= FULL_EVERY {
            let pages = (&Pages::of(&self.history), self.full.1.as_ref());
            manifest.full = Some(write_full(&self.store, (&self.keys, term), pages, &|_| ()).await.unwrap());
        }
        manifest
    }

    /// Segments of some tasks, in one part or two.
    async fn save_segments(&mut self) -> Vec<SavedGroup> {
        let all = (0..2).flat_map(|stage| (0..TASKS).map(move |partition| TaskId { stage, partition }));
        let mut tasks: Vec<TaskId> = all.filter(|_| self.random.random_ratio(1, 2)).collect();
        tasks.shuffle(&mut self.random);
        let cut = self.random.random_range(0..=tasks.len());
        let mut groups = vec![];
        for tasks in [&tasks[..cut], &tasks[cut..]] {
            let mut builder = PartBuilder::new(self.register.boot);
            let segments = tasks.iter().map(|&task| self.segment(task, &mut builder)).collect();
            let parts = if builder.is_empty() { vec![] } else { vec![self.save_part(builder).await] };
            groups.push(SavedGroup { parts, segments });
        }
        groups
    }

    fn segment(&mut self, task: TaskId, builder: &mut PartBuilder) -> SavedSegment {
        let before = self.history.tasks.get(&task).cloned();
        let mut header = SegmentHeader {
            incarnation: self.register.incarnation,
            task,
            branch: self.register.branch,
            attempt: self.register.attempt,
            sequence: Sequence(self.register.created.0),
            parent: before.as_ref().map(|before| before.segment),
            inputs: vec![self.progress(task, before.as_ref())],
            watermark: None,
            component: Digest::of(b"component"),
            schemas: vec![1],
            delta: vec![],
            runs: RunsHeader::of(&[]),
            files: vec![],
        };
        let mut offsets = vec![];
        if task.stage == 1 {
            for content in [DeltaContent::Changes, DeltaContent::Deletions] {
                if self.random.random_ratio(2, 3) {
                    let (delta, bytes) = self.delta(content);
                    offsets.push(builder.len() as u64);
                    builder.delta(header.origin(), &delta, &bytes);
                    header.delta.push(delta);
                }
            }
        } else {
            let runs = self.runs();
            header.runs = RunsHeader::of(&runs.iter().map(|(run, _)| run.clone()).collect::<Vec<_>>());
            runs.into_iter().for_each(|(run, bytes)| builder.run(header.origin(), run, &bytes));
        }
        SavedSegment { hash: header.hash(), header, deltas: offsets }
    }

    /// Readers of the stream go on to anywhere below its head.
    fn progress(&mut self, task: TaskId, before: Option<&TaskHistory>) -> InputProgress {
        let at = before.map_or(0, |before| before.header.inputs[0].records);
        let (position, records) = if task.stage == 0 {
            (Position::File { plan: self.spec.plans[0].object.sha256, split: 0, offset: at + 1 }, at + 1)
        } else {
            let offset = self.random.random_range(at..=self.history.head(&stream(), task.partition));
            (Position::Stream { incarnation: Incarnation(70), offset }, offset)
        };
        InputProgress { position, on_end: OnEnd::Open, records, bytes: 0, last_timestamp: 0 }
    }

    fn delta(&mut self, content: DeltaContent) -> (DeltaHeader, Vec<u8>) {
        let bytes = self.bytes();
        let header = DeltaHeader {
            store: StoreName::new("counts").unwrap(),
            content,
            entries: 1,
            length: bytes.len() as u64,
            sha256: Digest::of(&bytes),
        };
        (header, bytes)
    }

    fn runs(&mut self) -> Vec<(Run, Vec<u8>)> {
        let partitions: Vec<u32> = (0..TASKS).filter(|_| self.random.random_ratio(1, 2)).collect();
        let run = |partition| {
            let bytes = self.bytes();
            let (length, sha256) = (bytes.len() as u64, Digest::of(&bytes));
            (Run { stream: stream(), partition, ordinal: 0, length, records: self.random.random_range(1..20), sha256 }, bytes)
        };
        partitions.into_iter().map(run).collect()
    }

    /// A base of any segment in the chain; some files are those of the base before.
    async fn save_base(&mut self, task: TaskId, history: &TaskHistory) -> BaseEntry {
        let segment = history.chain[self.random.random_range(0..history.chain.len())].segment;
        let mut files: Vec<BaseFile> = history.base.iter().flat_map(|base| base.files.clone()).collect();
        files.retain(|_| self.random.random_ratio(1, 2));
        for _ in 0..self.random.random_range(1..3) {
            self.objects += 1;
            let object = self.put(self.keys.base_file(self.register.boot, self.objects)).await;
            files.push(BaseFile { name: format!("{:06}.sst", self.objects), object: object.0, length: object.1 });
        }
        BaseEntry { task, base: Base { segment, created_at_ms: self.register.created.0, files } }
    }

    async fn save_merge(&mut self, task: TaskId, history: &TaskHistory) -> SavedMerges {
        let first = self.random.random_range(0..history.chain.len() - 1);
        let last = self.random.random_range(first + 1..history.chain.len());
        let (delta, bytes) = self.delta(DeltaContent::Changes);
        let mut builder = PartBuilder::new(self.register.boot);
        let offset = builder.len() as u64;
        builder.delta(history.header.origin(), &delta, &bytes);
        let part = self.save_part(builder).await;
        let (first, last) = (history.chain[first].first, history.chain[last].segment);
        SavedMerges { part: Some(part), merges: vec![SavedMerge { task, first, last, delta: vec![delta], offsets: vec![offset] }] }
    }

    async fn save_part(&mut self, builder: PartBuilder) -> SavedPart {
        let part = builder.finish().unwrap();
        self.objects += 1;
        let key = self.keys.part(self.register.boot, self.objects);
        let object = ObjectRef { key, sha256: Digest::of(&part.bytes) };
        self.store.create(&object.key, part.bytes.clone().into()).await.unwrap();
        SavedPart { object, length: part.bytes.len() as u64, footer_at: part.footer_at, footer: part.footer }
    }

    /// An object that nobody will ever name, as a death or a failed try leaves it.
    async fn leave_behind(&mut self) {
        self.objects += 1;
        let (boot, term) = (self.register.boot, self.register.term);
        let digest = Digest::of(&self.objects.to_le_bytes());
        let key = match self.random.random_range(0..5) {
            0 => self.keys.part(boot, self.objects),
            1 => self.keys.base_file(boot, self.objects),
            2 => self.keys.page(term, digest),
            3 => self.keys.plan(digest),
            _ => self.keys.spec(digest),
        };
        self.put(key).await;
    }

    async fn put(&mut self, key: String) -> (ObjectRef, u64) {
        let bytes = self.bytes();
        let (sha256, length) = (Digest::of(&bytes), bytes.len() as u64);
        self.store.create(&key, Bytes::from(bytes)).await.unwrap();
        (ObjectRef { key, sha256 }, length)
    }

    fn bytes(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; self.random.random_range(1..40)];
        self.random.fill_bytes(&mut bytes);
        bytes
    }
}

fn stream() -> StreamName {
    StreamName::new("words").unwrap()
}

fn claim(boot: u128) -> Begin {
    let stream = StreamRecord { name: stream(), incarnation: Incarnation(70), partitions: TASKS, ancestors: vec![] };
    Begin { boot: Boot(boot), fresh: Incarnation(7), streams: vec![stream] }
}

/// Splits files into a stream, and counts what is in it.
fn job() -> Job {
    let stage = |name: &str, source, sink, stores| Stage {
        name: StageName::new(name).unwrap(),
        component: Digest::of(name.as_bytes()),
        inputs: vec![Input { port: PortName::new("in").unwrap(), source }],
        outputs: vec![Output { port: PortName::new("out").unwrap(), sink }],
        stores,
        config: BTreeMap::new(),
        on_error: OnError::Stop,
        retries: 1,
    };
    let file = Source::File { folder: "/in".to_owned(), pattern: "**".to_owned(), format: Format::Lines };
    let counts = Sink::File { folder: "/out".to_owned(), format: Format::Tsv };
    let store = JobStore { name: StoreName::new("counts").unwrap(), schema_version: 1 };
    Job {
        name: JobName::new(JOB).unwrap(),
        stages: vec![
            stage("split", file, Sink::Stream { name: stream(), partitions: TASKS }, vec![]),
            stage("count", Source::Stream { name: stream() }, counts, vec![store]),
        ],
        produced: vec![],
        checkpoint: CheckpointSettings::default(),
        limits: Limits::default(),
    }
}

/// That a task was confirmed under an attempt: what spoils a header's hash.
pub(crate) fn other_attempt(history: &mut TaskHistory) {
    history.header.attempt = Attempt(history.header.attempt.0 + 1);
}
