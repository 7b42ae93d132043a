//! `gregor:task/state`: stores and cursors. Keys and values are read where they lie in the guest's memory. Refuses, as errors that the guest
//! sees, what is too large or contradicts itself; as traps, writes outside of a transaction and handles beyond the bounds.

use gregor_model::columns::{Strings, StringsBuf};
use gregor_model::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use wasmtime::StoreContext;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower, Resource, ResourceType, WasmList};

use crate::error::{ServiceError, StateRefusal};
use crate::failure::Stop;
use crate::host::{Caller, Host, serve};
use crate::services::{Direction, ScanRange, Services};
use crate::stdio::cut;

/// What a handle of a store means: an index into the description.
pub(crate) enum Store {}
/// What a handle of a cursor means: a number that [`crate::handles::Cursors`] knows.
pub(crate) enum Cursor {}

/// What every function of this interface answers.
type Answer<T> = wasmtime::Result<(Result<T, StateRefusal>,)>;

/// `state.columns` on its way out of the guest.
#[derive(ComponentType, Lift)]
#[component(record)]
struct Columns {
    data: WasmList<u8>,
    ends: WasmList<u32>,
    nulls: WasmList<u8>,
}

/// `state.columns` on its way into the guest.
#[derive(ComponentType, Lower)]
#[component(record)]
struct ColumnsBuf {
    data: Vec<u8>,
    ends: Vec<u32>,
    nulls: Vec<u8>,
}

/// `state.range`.
#[derive(ComponentType, Lift)]
#[component(record)]
struct Range {
    start: Option<WasmList<u8>>,
    end: Option<WasmList<u8>>,
    reverse: bool,
}

/// Serves the interface.
pub(crate) fn add<S: Services>(instance: &mut LinkerInstance<'_, Host<S>>) -> wasmtime::Result<()> {
    instance.resource("store", ResourceType::host::<Store>(), |mut caller, _| {
        caller.data_mut().handles.drop_store();
        Ok(())
    })?;
    instance.resource("cursor", ResourceType::host::<Cursor>(), drop_cursor::<S>)?;
    instance.func_wrap("open", open::<S>)?;
    instance.func_wrap("[method]store.get", get::<S>)?;
    instance.func_wrap("[method]store.put", put::<S>)?;
    instance.func_wrap("[method]store.delete", delete::<S>)?;
    instance.func_wrap("[method]store.add", add_one::<S>)?;
    instance.func_wrap("[method]store.get-many", get_many::<S>)?;
    instance.func_wrap("[method]store.put-many", put_many::<S>)?;
    instance.func_wrap("[method]store.add-many", add_many::<S>)?;
    instance.func_wrap("[method]store.scan", scan::<S>)?;
    instance.func_wrap("[method]cursor.next", next::<S>)?;
    instance.func_wrap("[method]cursor.next-many", next_many::<S>)?;
    Ok(())
}

fn open<S: Services>(mut caller: Caller<'_, S>, (name,): (String,)) -> Answer<Resource<Store>> {
    let host = caller.data_mut();
    let Some(index) = host.descriptor.stores.iter().position(|store| store.name.as_str() == name) else {
        return Ok((Err(StateRefusal::NoSuchStore(cut(&name, 64).to_owned())),));
    };
    host.handles.open_store()?;
    Ok((Ok(Resource::new_own(u32::try_from(index)?)),))
}

fn get<S: Services>(mut caller: Caller<'_, S>, (store, key): (Resource<Store>, WasmList<u8>)) -> Answer<Option<Vec<u8>>> {
    let index = index(&store)?;
    answer(serve(&mut caller, |services, memory| services.get(index, checked(key.as_le_slice(&memory), KEY_BYTES_MAX)?))?)
}

fn put<S: Services>(mut caller: Caller<'_, S>, (store, key, value): (Resource<Store>, WasmList<u8>, WasmList<u8>)) -> Answer<()> {
    let index = index(&store)?;
    caller.data().call.check_writable()?;
    answer(serve(&mut caller, |services, memory| {
        let key = checked(key.as_le_slice(&memory), KEY_BYTES_MAX)?;
        services.put(index, key, checked(value.as_le_slice(&memory), VALUE_BYTES_MAX)?)
    })?)
}

fn delete<S: Services>(mut caller: Caller<'_, S>, (store, key): (Resource<Store>, WasmList<u8>)) -> Answer<()> {
    let index = index(&store)?;
    caller.data().call.check_writable()?;
    answer(serve(&mut caller, |services, memory| services.delete(index, checked(key.as_le_slice(&memory), KEY_BYTES_MAX)?))?)
}

fn add_one<S: Services>(mut caller: Caller<'_, S>, (store, key, amount): (Resource<Store>, WasmList<u8>, i64)) -> Answer<i64> {
    let index = index(&store)?;
    caller.data().call.check_writable()?;
    answer(serve(&mut caller, |services, memory| services.add(index, checked(key.as_le_slice(&memory), KEY_BYTES_MAX)?, amount))?)
}

fn get_many<S: Services>(mut caller: Caller<'_, S>, (store, keys): (Resource<Store>, Columns)) -> Answer<ColumnsBuf> {
    let index = index(&store)?;
    let found = serve(&mut caller, |services, memory| services.get_many(index, keys.keys(&memory)?))?;
    answer(found.map(ColumnsBuf::from))
}

fn put_many<S: Services>(mut caller: Caller<'_, S>, (store, keys, values): (Resource<Store>, Columns, Columns)) -> Answer<()> {
    let index = index(&store)?;
    caller.data().call.check_writable()?;
    answer(serve(&mut caller, |services, memory| {
        let keys = keys.keys(&memory)?;
        let values = values.strings(&memory, ("values", VALUE_BYTES_MAX))?;
        if values.len() != keys.len() {
            return Err(invalid(format!("there are {} values for {} keys", values.len(), keys.len())));
        }
        services.put_many(index, keys, values)
    })?)
}

fn add_many<S: Services>(mut caller: Caller<'_, S>, (store, keys, amounts): (Resource<Store>, Columns, WasmList<i64>)) -> Answer<()> {
    let index = index(&store)?;
    caller.data().call.check_writable()?;
    answer(serve(&mut caller, |services, memory| {
        let keys = keys.keys(&memory)?;
        let amounts = amounts.as_le_slice(&memory);
        if amounts.len() != keys.len() && amounts.len() != 1 {
            return Err(invalid(format!("there are {} amounts for {} keys, expected as many or one", amounts.len(), keys.len())));
        }
        services.add_many(index, keys, amounts)
    })?)
}

fn scan<S: Services>(mut caller: Caller<'_, S>, (store, range): (Resource<Store>, Range)) -> Answer<Resource<Cursor>> {
    let index = index(&store)?;
    caller.data().handles.cursors.check_room()?;
    let opened = serve(&mut caller, |services, memory| {
        let bound =
            |key: Option<WasmList<u8>>| key.map(|key| checked(key.as_le_slice(&memory), KEY_BYTES_MAX).map(<[u8]>::to_vec)).transpose();
        let direction = if range.reverse { Direction::Reverse } else { Direction::Forward };
        services.scan(index, ScanRange { start: bound(range.start)?, end: bound(range.end)?, direction })
    })?;
    answer(opened.map(|cursor| Resource::new_own(caller.data_mut().handles.cursors.add(cursor))))
}

fn next<S: Services>(mut caller: Caller<'_, S>, (cursor, max): (Resource<Cursor>, u32)) -> Answer<Vec<(Vec<u8>, Vec<u8>)>> {
    answer(next_pairs(&mut caller, &cursor, max)?.map(|(keys, values)| pairs(&keys, &values)))
}

fn next_many<S: Services>(mut caller: Caller<'_, S>, (cursor, max): (Resource<Cursor>, u32)) -> Answer<(ColumnsBuf, ColumnsBuf)> {
    answer(next_pairs(&mut caller, &cursor, max)?.map(|(keys, values)| (keys.into(), values.into())))
}

/// None at all would look like the end, so that at least one pair is asked for.
fn next_pairs<S: Services>(
    caller: &mut Caller<'_, S>,
    cursor: &Resource<Cursor>,
    max: u32,
) -> Result<Result<(StringsBuf, StringsBuf), ServiceError>, Stop> {
    let cursor = caller.data().handles.cursors.get(cursor.rep())?;
    serve(caller, |services, _| services.next(cursor, max.max(1)))
}

fn drop_cursor<S: Services>(mut caller: Caller<'_, S>, number: u32) -> wasmtime::Result<()> {
    match caller.data_mut().handles.cursors.remove(number) {
        Some(cursor) => Ok(serve(&mut caller, |services, _| services.close(cursor))?),
        None => Ok(()),
    }
}

impl Columns {
    /// Borrows keys: none absent, none too long.
    fn keys<'a, S: Services>(&self, memory: &'a StoreContext<'_, Host<S>>) -> Result<Strings<'a>, ServiceError> {
        let keys = self.strings(memory, ("keys", KEY_BYTES_MAX))?;
        if self.nulls.len() != 0 && keys.has_absent() {
            return Err(invalid("column keys.nulls: a key is absent".to_owned()));
        }
        Ok(keys)
    }

    /// Borrows strings of at most so many bytes each; `name` is theirs in the contract.
    fn strings<'a, S: Services>(
        &self,
        memory: &'a StoreContext<'_, Host<S>>,
        (name, bytes_max): (&str, usize),
    ) -> Result<Strings<'a>, ServiceError> {
        let (data, ends, nulls) = (self.data.as_le_slice(memory), self.ends.as_le_slice(memory), self.nulls.as_le_slice(memory));
        let strings = Strings::new(data, ends, nulls).map_err(|error| invalid(format!("{name}: {error}")))?;
        // Where all of them together are no longer than one may be, none of them is.
        if data.len() > bytes_max {
            strings.iter().flatten().try_for_each(|string| checked(string, bytes_max).map(drop))?;
        }
        Ok(strings)
    }
}

impl From<StringsBuf> for ColumnsBuf {
    fn from(StringsBuf { data, ends, nulls }: StringsBuf) -> Self {
        Self { data, ends, nulls }
    }
}

/// The index of a store in the description.
fn index(store: &Resource<Store>) -> Result<u16, Stop> {
    u16::try_from(store.rep()).map_err(|_| Stop::Broken(format!("there is no store {}", store.rep())))
}

fn checked(bytes: &[u8], bytes_max: usize) -> Result<&[u8], ServiceError> {
    if bytes.len() > bytes_max {
        return Err(StateRefusal::TooLarge(u64::try_from(bytes.len()).unwrap_or(u64::MAX)).into());
    }
    Ok(bytes)
}

const fn invalid(what: String) -> ServiceError {
    ServiceError::Refused(StateRefusal::InvalidColumns(what))
}

/// Keys with their values; a pair with an absent one is not a pair.
fn pairs(keys: &StringsBuf, values: &StringsBuf) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (Ok(keys), Ok(values)) = (keys.as_strings(), values.as_strings()) else { return Vec::new() };
    let owned = |(key, value): (Option<&[u8]>, Option<&[u8]>)| Some((key?.to_vec(), value?.to_vec()));
    keys.iter().zip(values.iter()).filter_map(owned).collect()
}

/// What a guest sees of it: refusals as errors of the contract, all else as a trap.
fn answer<T>(result: Result<T, ServiceError>) -> Answer<T> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(ServiceError::Refused(refusal)) => Ok((Err(refusal),)),
        Err(error @ (ServiceError::Trap(_) | ServiceError::Broken(_))) => Err(Stop::from(error).into()),
    }
}
