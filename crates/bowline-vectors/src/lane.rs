//! Values in the form that is computed on: whole lanes of eight, so that the compiler uses vector registers.

/// Values of one lane.
pub const WIDTH: usize = 8;
/// Lanes that are added up side by side: one sum alone would wait for itself.
const SUMS: usize = 4;

/// Eight values, aligned so that the compiler can keep them in one vector register.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(32))]
pub struct Lane(
    /// The values.
    pub [f32; WIDTH],
);

impl Lane {
    /// Eight zeros.
    pub const ZERO: Self = Self([0.0; WIDTH]);
}

/// Writes `values` over `lanes`, the rest zeros.
pub fn pack_into(values: &[f32], lanes: &mut [Lane]) {
    lanes.fill(Lane::ZERO);
    for (lane, values) in lanes.iter_mut().zip(values.chunks(WIDTH)) {
        lane.0[..values.len()].copy_from_slice(values);
    }
}

/// `values` as `count` lanes.
pub fn pack(values: &[f32], count: usize) -> Vec<Lane> {
    let mut lanes = vec![Lane::ZERO; count];
    pack_into(values, &mut lanes);
    lanes
}

/// 1 / length, or 0 for a vector without direction.
pub fn inverse_norm(lanes: &[Lane]) -> f32 {
    let square = square(lanes);
    if square > 0.0 {
        (1.0 / square.sqrt()) as f32
    } else {
        0.0
    }
}

/// The square of the length.
pub fn square(lanes: &[Lane]) -> f64 {
    let values = lanes.iter().flat_map(|lane| lane.0);
    values.map(|value| f64::from(value).powi(2)).sum()
}

/// The dot product.
pub fn dot(one: &[Lane], two: &[Lane]) -> f32 {
    fold(one, two, |one, two| one * two)
}

/// The square of the distance.
pub fn squared_distance(one: &[Lane], two: &[Lane]) -> f32 {
    fold(one, two, |one, two| (one - two) * (one - two))
}

/// The sum of `term` over pairs of values.
#[inline(always)]
fn fold(one: &[Lane], two: &[Lane], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [[0.0f32; WIDTH]; SUMS];
    let ((ones, one_rest), (twos, two_rest)) = (one.as_chunks::<SUMS>(), two.as_chunks::<SUMS>());
    for (ones, twos) in ones.iter().zip(twos) {
        for (sums, (one, two)) in sums.iter_mut().zip(ones.iter().zip(twos)) {
            for (sum, (one, two)) in sums.iter_mut().zip(one.0.iter().zip(&two.0)) {
                *sum += term(*one, *two);
            }
        }
    }
    for (one, two) in one_rest.iter().zip(two_rest) {
        for (sum, (one, two)) in sums[0].iter_mut().zip(one.0.iter().zip(&two.0)) {
            *sum += term(*one, *two);
        }
    }
    total(sums)
}

/// Adds up what was added up side by side.
///
/// Not inlined: the compiler would see that the sums are added to each other in the end, and shuffle them in every turn of the
/// loop to be ready for it, which takes more registers than there are and a fifth of the time of a scan.
#[inline(never)]
fn total([one, two, three, four]: [[f32; WIDTH]; SUMS]) -> f32 {
    let mut sums: [f32; WIDTH] = std::array::from_fn(|at| (one[at] + two[at]) + (three[at] + four[at]));
    for half in [4, 2, 1] {
        for at in 0..half {
            sums[at] += sums[at + half];
        }
    }
    sums[0]
}
