//! `gregor:task/telemetry`: log lines and metrics, cut to their bounds. Best effort: what is too long is cut, what is too much is left out.
//! Refuses only handles beyond their bound, because those cost the host memory.

use gregor_model::limits::{LOG_FIELDS_MAX, LOG_LINE_BYTES_MAX, METRIC_LABELS_MAX, METRIC_TEXT_BYTES_MAX};
use wasmtime::component::{LinkerInstance, Resource, ResourceType, WasmList, WasmStr};

use crate::handles::Series;
use crate::host::{Caller, Host};
use crate::services::{Level, LogLine, MetricKind, MetricUpdate, Services};
use crate::stdio::cut;

/// A handle of a counter.
enum Counter {}
/// A handle of a gauge.
enum Gauge {}
/// A handle of a histogram.
enum Histogram {}

/// Names and values, in the guest's memory.
type Pairs = WasmList<(WasmStr, WasmStr)>;

/// Serves the interface.
pub(crate) fn add<S: Services>(instance: &mut LinkerInstance<'_, Host<S>>) -> wasmtime::Result<()> {
    instance.func_wrap("log", log::<S>)?;
    add_metric::<S, Counter, u64>(instance, ["counter", "add"], MetricKind::Counter)?;
    add_metric::<S, Gauge, f64>(instance, ["gauge", "set"], MetricKind::Gauge)?;
    add_metric::<S, Histogram, f64>(instance, ["histogram", "observe"], MetricKind::Histogram)?;
    Ok(())
}

fn log<S: Services>(mut caller: Caller<'_, S>, (level, message, fields): (Level, WasmStr, Pairs)) -> wasmtime::Result<()> {
    let message = cut(&message.to_str(&caller)?, LOG_LINE_BYTES_MAX).to_owned();
    let mut room = LOG_LINE_BYTES_MAX - message.len();
    let mut fields = texts(&mut caller, &fields, (LOG_FIELDS_MAX, LOG_LINE_BYTES_MAX))?;
    for text in fields.iter_mut().flat_map(|(name, value)| [name, value]) {
        text.truncate(cut(text, room).len());
        room -= text.len();
    }
    fields.retain(|(name, _)| !name.is_empty());
    serve_log(&mut caller, LogLine { level, message: &message, fields: &fields })
}

fn serve_log<S: Services>(caller: &mut Caller<'_, S>, line: LogLine<'_>) -> wasmtime::Result<()> {
    Ok(crate::host::serve(caller, |services, _| services.log(line))?)
}

/// Serves one kind of metric: `R` is the type of its handles, `V` of its values.
fn add_metric<S, R, V>(
    instance: &mut LinkerInstance<'_, Host<S>>,
    [kind, method]: [&str; 2],
    update: fn(V) -> MetricKind,
) -> wasmtime::Result<()>
where
    S: Services,
    R: 'static,
    V: wasmtime::component::Lift + 'static,
{
    instance.resource(kind, ResourceType::host::<R>(), |mut caller, number| {
        caller.data_mut().handles.series.remove(number);
        Ok(())
    })?;
    instance.func_wrap(&format!("[constructor]{kind}"), |mut caller: Caller<'_, S>, (name, labels): (WasmStr, Pairs)| {
        let name = cut(&name.to_str(&caller)?, METRIC_TEXT_BYTES_MAX).to_owned();
        let labels = texts(&mut caller, &labels, (METRIC_LABELS_MAX, METRIC_TEXT_BYTES_MAX))?;
        let number = caller.data_mut().handles.series.insert(Series { name, labels })?;
        Ok((Resource::<R>::new_own(number),))
    })?;
    instance.func_wrap(&format!("[method]{kind}.{method}"), move |mut caller: Caller<'_, S>, (metric, value): (Resource<R>, V)| {
        crate::host::serve(&mut caller, |services, host| {
            let series = host.data().handles.series.get(metric.rep())?;
            services.metric(MetricUpdate { name: &series.name, labels: &series.labels, kind: update(value) });
            wasmtime::Result::Ok(())
        })?
    })
}

/// Copies pairs out of the guest: at most so many, each text of at most so many bytes.
fn texts<S: Services>(
    caller: &mut Caller<'_, S>,
    pairs: &Pairs,
    (count_max, bytes_max): (usize, usize),
) -> wasmtime::Result<Vec<(String, String)>> {
    let taken: Vec<(WasmStr, WasmStr)> = pairs.iter(&mut *caller)?.take(count_max).collect::<wasmtime::Result<_>>()?;
    let text = |text: &WasmStr| text.to_str(&*caller).map(|text| cut(&text, bytes_max).to_owned());
    taken.iter().map(|(name, value)| Ok((text(name)?, text(value)?))).collect()
}
