//! The algorithm on made-up networks, against the figures of Serf's own tests, and under abuse.

use super::*;
use fastrand::Rng;
use proptest::prelude::*;

/// Round trips in seconds, of each member to all before it.
type Truth = Vec<Vec<f64>>;

/// The round trips that a function gives for each two members, the smaller number first.
fn truth(members: usize, mut seconds: impl FnMut(usize, usize) -> f64) -> Truth {
    (0..members).map(|j| (0..j).map(|i| seconds(i, j)).collect()).collect()
}

/// Some members, each of which observes one random other in a cycle.
struct Swarm<const D: usize> {
    members: Vec<Vivaldi<D>>,
    round_trips: Vec<Vec<RoundTrips>>,
    truth: Truth,
    rng: Rng,
}

/// Relative errors of all estimates.
#[derive(Clone, Copy, Debug)]
struct Accuracy {
    mean: f64,
    worst: f64,
}

impl<const D: usize> Swarm<D> {
    fn new(truth: Truth, seed: u64) -> Swarm<D> {
        let n = truth.len();
        Swarm {
            members: vec![Vivaldi::default(); n],
            round_trips: vec![vec![RoundTrips::default(); n]; n],
            truth,
            rng: Rng::with_seed(seed),
        }
    }

    fn run(&mut self, cycles: usize) {
        for _ in 0..cycles {
            for i in 0..self.members.len() {
                let j = self.rng.usize(0..self.members.len());
                if i != j {
                    let other = *self.members[j].coordinate();
                    let round_trip = Duration::from_secs_f64(self.truth[i.max(j)][i.min(j)]);
                    let round_trips = &mut self.round_trips[i][j];
                    self.members[i].observe(&other, round_trip, round_trips, &mut self.rng).unwrap();
                }
            }
        }
    }

    fn accuracy(&self) -> Accuracy {
        let pairs =
            self.truth.iter().enumerate().flat_map(|(j, row)| row.iter().map(move |t| (j, t)).enumerate());
        let errors: Vec<f64> = pairs
            .map(|(i, (j, truth))| {
                let estimate = self.members[i].coordinate().seconds_to(self.members[j].coordinate());
                (estimate - truth).abs() / truth
            })
            .collect();
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        Accuracy { mean, worst: errors.into_iter().fold(0.0, f64::max) }
    }
}

/// How many seeds each network is tried from. Serf's own tests hold for the one seed that they have;
/// now and then a network settles a little askew, with Serf's algorithm as with this one.
const SEEDS: u64 = 21;

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Runs a network from several seeds. The median must not be worse than this.
fn check<const D: usize>(
    what: &str,
    truth: impl Fn(&mut Rng) -> Truth,
    mean: f64,
    worst: f64,
) -> Vec<Swarm<D>> {
    let run = |seed| {
        let mut swarm = Swarm::<D>::new(truth(&mut Rng::with_seed(seed)), seed);
        swarm.run(1000);
        assert!(swarm.members.iter().all(|m| m.resets() == 0), "{what}, seed {seed}");
        swarm
    };
    let swarms: Vec<Swarm<D>> = (1..=SEEDS).map(run).collect();
    let accuracies = || swarms.iter().map(Swarm::accuracy);
    let means = median(accuracies().map(|a| a.mean).collect());
    let worsts = median(accuracies().map(|a| a.worst).collect());
    assert!(means <= mean && worsts <= worst, "{what}: mean {means}, worst {worsts}");
    swarms
}

#[test]
fn a_line() {
    check::<DIMENSIONS>("line", |_| truth(10, |i, j| (j - i) as f64 * 0.010), 0.0031, 0.0130);
}

#[test]
fn a_grid() {
    let grid = |_: &mut Rng| {
        truth(25, |i, j| {
            let (dx, dy) = ((i % 5).abs_diff(j % 5) as f64, (i / 5).abs_diff(j / 5) as f64);
            dx.hypot(dy) * 0.010
        })
    };
    check::<DIMENSIONS>("grid", grid, 0.0016, 0.0230);
}

#[test]
fn two_sites() {
    let split = |_: &mut Rng| truth(25, |i, j| if (i <= 12) == (j <= 12) { 0.001 } else { 0.011 });
    check::<DIMENSIONS>("split", split, 0.000_060, 0.000_48);
}

#[test]
fn a_random_network() {
    // Normally distributed, by adding up twelve.
    let random =
        |rng: &mut Rng| truth(25, |_, _| 0.100 + 0.010 * ((0..12).map(|_| rng.f64()).sum::<f64>() - 6.0));
    check::<DIMENSIONS>("random", random, 0.075, 0.33);
}

/// Members on a circle and one in its middle, but twice as far from all as they are: only a
/// height can hold that in two dimensions.
#[test]
fn a_height() {
    const RADIUS: f64 = 0.100;
    let circle = truth(25, |i, j| match i {
        0 => 2.0 * RADIUS,
        _ => {
            let angle = |k: usize| std::f64::consts::TAU * k as f64 / 25.0;
            let (x, y) = (angle(j).cos() - angle(i).cos(), angle(j).sin() - angle(i).sin());
            x.hypot(y) * RADIUS
        }
    });
    // Serf's 0.0028 is the luck of its seed: the median is 0.0034 with either program.
    let swarms = check::<2>("circle", |_| circle.clone(), 0.0036, 0.064);
    let height = |swarm: &Swarm<2>, i: usize| swarm.members[i].coordinate().height();
    assert!(median(swarms.iter().map(|s| height(s, 0)).collect()) >= 0.97 * RADIUS);
    let others = |s: &Swarm<2>| (1..25).map(|i| height(s, i)).fold(0.0, f64::max);
    assert!(median(swarms.iter().map(others).collect()) <= 0.03 * RADIUS);
}

/// Four members far from the origin: gravity brings their middle closer.
#[test]
fn gravity_stops_a_drift() {
    const DISTANCE: f64 = 0.5;
    let square = truth(4, |i, j| if i % 2 == 0 && j % 2 == 0 { DISTANCE.hypot(DISTANCE) } else { DISTANCE });
    let off_centre = |swarm: &Swarm<2>| {
        let middle = |axis: usize| {
            let along = swarm.members.iter().map(|m| m.coordinate().position()[axis]);
            let (least, most) = along.fold((f64::MAX, f64::MIN), |(a, b), p| (a.min(p), b.max(p)));
            (least + most) / 2.0
        };
        middle(0).hypot(middle(1))
    };
    for seed in 1..=SEEDS {
        let mut swarm = Swarm::<2>::new(square.clone(), seed);
        let corners = [[0.0, 0.0], [0.0, DISTANCE], [DISTANCE, DISTANCE], [DISTANCE, DISTANCE]];
        for (member, corner) in swarm.members.iter_mut().zip(corners) {
            member.coordinate = Coordinate::new(corner, MAX_ERROR, 0.0, MIN_HEIGHT).unwrap();
        }
        swarm.run(1000);
        let before = off_centre(&swarm);
        swarm.run(10_000);
        let after = off_centre(&swarm);
        assert!(after <= 0.8 * before, "seed {seed}: {before} -> {after}");
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn at(first: f64, error: f64) -> Coordinate {
    let mut position = [0.0; DIMENSIONS];
    position[0] = first;
    Coordinate::new(position, error, 0.0, MIN_HEIGHT).unwrap()
}

#[test]
fn the_median_of_three_counts() {
    let mut round_trips = RoundTrips::default();
    // Of two the greater, as in Serf.
    let medians = [0.2, 0.3, 0.1, 9.0, 0.1, 0.1].map(|s| round_trips.median_with(s));
    assert_eq!(medians, [0.2, 0.3, 0.2, 0.3, 0.1, 0.1]);
}

#[test]
fn round_trips_out_of_range_change_nothing() {
    let (mut me, mut round_trips, mut rng) = (Vivaldi::default(), RoundTrips::default(), Rng::with_seed(1));
    let too_long = MAX_ROUND_TRIP + ms(1);
    let refused = me.observe(&at(0.1, 1.0), too_long, &mut round_trips, &mut rng);
    assert_eq!(refused, Err(RoundTripError(too_long)));
    assert_eq!((*me.coordinate(), round_trips.observed), (Coordinate::origin(), 0));
    for fine in [Duration::ZERO, MAX_ROUND_TRIP] {
        me.observe(&at(0.1, 1.0), fine, &mut round_trips, &mut rng).unwrap();
    }
    assert_ne!(*me.coordinate(), Coordinate::origin());
}

#[test]
fn one_observation_moves_along_the_line_between_the_two() {
    let (mut me, mut rng) = (Vivaldi { coordinate: at(1.0, 0.5), ..Vivaldi::default() }, Rng::with_seed(1));
    me.observe(&at(0.0, 0.5), ms(2000), &mut RoundTrips::default(), &mut rng).unwrap();
    let [first, rest @ ..] = me.coordinate().position();
    // A quarter of half of the missing second, and a trace of gravity.
    assert!((first - 1.125).abs() < 0.001, "{first}");
    assert!(rest.iter().all(|part| part.abs() < 1e-9));
    // Half of what is missing after that, in a window of twenty.
    assert!((me.coordinate().adjustment() - 0.875 / 40.0).abs() < 0.001);
    assert!((me.coordinate().error() - (0.125 * 0.5 + 0.875 * 0.5)).abs() < 1e-3);
}

#[test]
fn a_member_that_claims_a_far_place_and_answers_at_once_moves_nobody_far() {
    let (mut me, mut rng) = (Vivaldi { coordinate: at(0.0, 0.1), ..Vivaldi::default() }, Rng::with_seed(1));
    me.observe(&at(10.0, 0.0), ms(1), &mut RoundTrips::default(), &mut rng).unwrap();
    let moved = me.coordinate().position()[0];
    // A quarter of nine milliseconds, not of ten seconds.
    assert!((moved - 0.002_25).abs() < 1e-5, "{moved}");
    assert!(me.coordinate().adjustment().abs() < 0.001);
}

#[test]
fn a_member_that_ends_up_out_of_range_begins_anew() {
    // Almost on each other, so that the height explodes: 2.5 s of push over a few microseconds.
    let mut me = Vivaldi { coordinate: at(3e-6, 1.5), ..Vivaldi::default() };
    let other = Coordinate::new([0.0; DIMENSIONS], 0.0, 0.0, 1.0).unwrap();
    me.observe(&other, MAX_ROUND_TRIP, &mut RoundTrips::default(), &mut Rng::with_seed(1)).unwrap();
    assert_eq!((me.resets(), *me.coordinate()), (1, Coordinate::origin()));
    assert_eq!(me.differences, [0.0; ADJUSTMENT_WINDOW]);
}

/// Anything valid, the extremes more often than they would come about.
fn any_coordinate() -> impl Strategy<Value = Coordinate> {
    let part = prop_oneof![Just(0.0), Just(10.0), Just(-10.0), -1e-5..1e-5, -10.0..10.0];
    let error = prop_oneof![Just(0.0), Just(MAX_ERROR), 0.0..MAX_ERROR];
    (proptest::array::uniform8(part.clone()), error, part.clone(), part)
        .prop_map(|(position, error, a, h)| Coordinate::new(position, error, a, f64::abs(h)).unwrap())
}

proptest! {
    #[test]
    fn no_observations_make_a_coordinate_invalid(
        seed: u64,
        observations in proptest::collection::vec(
            (0usize..3, any_coordinate(), prop_oneof![Just(0u64), Just(10_000_000_000), 0u64..20_000_000_000]),
            1..60,
        ),
    ) {
        let (mut me, mut rng) = (Vivaldi::default(), Rng::with_seed(seed));
        let mut round_trips = [RoundTrips::default(); 3];
        for (from, other, nanos) in observations {
            let _ = me.observe(&other, Duration::from_nanos(nanos), &mut round_trips[from], &mut rng);
            let c = me.coordinate();
            let again = Coordinate::new(*c.position(), c.error(), c.adjustment(), c.height());
            prop_assert_eq!(again, Ok(*c));
            prop_assert!(c.height() >= MIN_HEIGHT);
        }
    }
}
