//! What a file holds once it is decompressed, read from its beginning on; of a plain file, from anywhere. Whatever a compressed file claims of
//! itself, no more memory is taken than its decoder's window. Refuses data that is cut off or corrupt: it is never just shorter.

use std::fmt;
use std::io::{self, BufRead, Read};

use cap_std::fs::{File, FileExt};
use flate2::bufread::MultiGzDecoder;
use gregor_model::limits::MIB;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::compression::Compression;

/// Compressed bytes that are read at once.
const COMPRESSED_READ_BYTES: usize = 64 * 1024;
/// Largest window of a zstd frame that is decoded, in bytes: what RFC 8878 asks of every decoder, and what `zstd` makes without `--ultra` and
/// `--long`. Each open file holds one.
const ZSTD_WINDOW_BYTES_MAX: u64 = 8 * MIB;
/// What to do about a file whose compressed data can't be read.
const REMEDY: &str = "fetch or write the file again, and start anew with another --data and output folder";

/// Why a file can't be read on.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// It ends before it did when the plan was made.
    TooShort,
    /// The system failed.
    System(io::Error),
    /// What it holds is not what its name and format say: where, and what is to be done.
    Damaged(String),
}

/// An open file.
pub(crate) enum Content {
    /// As it is.
    Plain(File),
    /// Members of gzip.
    Gzip(Box<MultiGzDecoder<Compressed>>),
    /// Frames of zstd.
    Zstd(Box<Frames>),
}

impl Content {
    /// Of a file of `length` bytes; nothing is read after them.
    pub(crate) fn new(file: File, compression: Compression, length: u64) -> Self {
        let compressed = |file| Compressed { file, at: 0, length, buffer: Vec::new(), begin: 0, failure: None };
        match compression {
            Compression::None => Self::Plain(file),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(compressed(file)))),
            Compression::Zstd => {
                let mut decoder = FrameDecoder::new();
                decoder.set_max_window_size(ZSTD_WINDOW_BYTES_MAX);
                Self::Zstd(Box::new(Frames { decoder, compressed: compressed(file), place: Place::Between, given: 0 }))
            }
        }
    }

    /// The file itself.
    pub(crate) fn file(&self) -> &File {
        match self {
            Self::Plain(file) => file,
            Self::Gzip(decoder) => &decoder.get_ref().file,
            Self::Zstd(frames) => &frames.compressed.file,
        }
    }

    /// Reads what stands at byte `from` of the content, which is where the last call ended if the file is compressed. No byte: its end.
    pub(crate) fn read(&mut self, from: u64, into: &mut [u8]) -> Result<usize, ReadError> {
        match self {
            Self::Plain(file) => read_at(file, from, into).map_err(ReadError::System),
            Self::Gzip(decoder) => decoder.read(into).map_err(|error| {
                let compressed = decoder.get_mut();
                compressed.explain(&error, error.kind() == io::ErrorKind::UnexpectedEof)
            }),
            Self::Zstd(frames) => frames.read(into),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Plain(_) => "Plain",
            Self::Gzip(_) => "Gzip",
            Self::Zstd(_) => "Zstd",
        };
        f.debug_tuple(name).field(self.file()).finish()
    }
}

fn read_at(file: &File, from: u64, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read_at(into, from) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// A file's own bytes, up to its planned length.
#[derive(Debug)]
pub(crate) struct Compressed {
    file: File,
    /// Place in the file after what is in the buffer.
    at: u64,
    length: u64,
    buffer: Vec<u8>,
    /// What is taken from the buffer.
    begin: usize,
    /// Why a read failed: a decoder tells it as an error of its own.
    failure: Option<ReadError>,
}

impl Compressed {
    /// The error that a decoder's error stands for.
    fn explain(&mut self, error: &dyn fmt::Display, is_cut: bool) -> ReadError {
        if let Some(failure) = self.failure.take() {
            return failure;
        }
        let place = (self.at - (self.buffer.len() - self.begin) as u64).min(self.length);
        ReadError::Damaged(if is_cut || place == self.length {
            format!("its compressed data is cut off at byte {place}, the end of the file ({error}); {REMEDY}")
        } else {
            format!("its compressed data is corrupt before byte {place} of {} ({error}); {REMEDY}", self.length)
        })
    }

    /// Passes over bytes; whether there are so many.
    fn skip(&mut self, bytes: u64) -> bool {
        let buffered = (self.buffer.len() - self.begin) as u64;
        match usize::try_from(bytes) {
            Ok(within) if bytes <= buffered => self.begin += within,
            _ => {
                self.begin = self.buffer.len();
                self.at = self.at.saturating_add(bytes - buffered);
            }
        }
        self.at <= self.length
    }
}

impl BufRead for Compressed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.begin == self.buffer.len() && self.at < self.length {
            let wanted = usize::try_from(self.length - self.at).unwrap_or(usize::MAX).min(COMPRESSED_READ_BYTES);
            self.buffer.resize(wanted, 0);
            let read = read_at(&self.file, self.at, &mut self.buffer);
            let taken = read.as_ref().map_or(0, |&read| read);
            self.buffer.truncate(taken);
            (self.begin, self.at) = (0, self.at + taken as u64);
            let failure = match read {
                Ok(0) => ReadError::TooShort,
                Ok(_) => return Ok(&self.buffer),
                Err(error) => ReadError::System(error),
            };
            self.failure = Some(failure);
            return Err(io::ErrorKind::Other.into());
        }
        Ok(self.buffer.get(self.begin..).unwrap_or_default())
    }

    fn consume(&mut self, bytes: usize) {
        self.begin = self.buffer.len().min(self.begin + bytes);
    }
}

impl Read for Compressed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

/// Frames of zstd, one after another.
pub(crate) struct Frames {
    decoder: FrameDecoder,
    compressed: Compressed,
    place: Place,
    /// Bytes that the frame has given.
    given: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A frame begins here, or the file ends.
    Between,
    /// In a frame.
    Within,
}

impl Frames {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, ReadError> {
        loop {
            let step = match self.place {
                Place::Within if self.decoder.can_collect() > 0 => {
                    let read = self.decoder.read(into).map_err(|error| self.compressed.explain(&error, false))?;
                    self.given += read as u64;
                    return Ok(read);
                }
                Place::Within if self.decoder.is_finished() => {
                    self.place = Place::Between;
                    match (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum()) {
                        (Some(told), Some(found)) if told != found => {
                            Err(format!("a frame's checksum is {told:08x}, its content's is {found:08x}"))
                        }
                        _ => self.check_size(),
                    }
                }
                Place::Within => {
                    let decoded = self.decoder.decode_blocks(&mut self.compressed, BlockDecodingStrategy::UptoBlocks(1));
                    decoded.map(drop).map_err(|error| error.to_string())
                }
                Place::Between => match self.compressed.fill_buf().map(<[u8]>::is_empty) {
                    Ok(true) => return Ok(0),
                    Ok(false) => self.begin_frame(),
                    Err(error) => Err(error.to_string()),
                },
            };
            step.map_err(|error| self.compressed.explain(&error, false))?;
        }
    }

    /// Whether the frame gave as many bytes as it says, where it says so: few have a checksum. (No size and a size of 0 are one to the decoder.)
    fn check_size(&self) -> Result<(), String> {
        match self.decoder.content_size() {
            told if told != 0 && told != self.given => Err(format!("a frame is to have {told} bytes of content, and has {}", self.given)),
            _ => Ok(()),
        }
    }

    fn begin_frame(&mut self) -> Result<(), String> {
        match self.decoder.reset(&mut self.compressed) {
            Ok(()) => {
                (self.place, self.given) = (Place::Within, 0);
                Ok(())
            }
            // Not for us: such frames carry what other programs put beside the data.
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                if self.compressed.skip(u64::from(length)) { Ok(()) } else { Err("the rest of a frame is missing".to_owned()) }
            }
            Err(FrameDecoderError::WindowSizeTooBig { requested, max }) => Err(format!(
                "it takes a window of {requested} bytes, at most {max} are given; compress it without --long, at a level up to 19"
            )),
            Err(FrameDecoderError::DictNotProvided { dict_id }) => {
                Err(format!("it takes dictionary {dict_id}, and none is known; compress it without a dictionary"))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}
