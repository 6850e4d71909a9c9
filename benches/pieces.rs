//! Times every piece: `cargo bench -p benches`, or one by
//! `cargo bench -p benches -- spool_append`. Under `cargo test` each runs once.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn pieces(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pieces");
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    for piece in benches::PIECES {
        let mut work = (piece.prepare)();
        group.throughput(Throughput::Elements(piece.count));
        group.bench_function(piece.name, |bencher| bencher.iter(|| black_box(work())));
    }
    group.finish();
}

criterion_group!(all, pieces);
criterion_main!(all);
