//! How a queue goes about it: [`QueueConfig`], [`PerClass`], and [`Tenant`].

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use fairkey_core::Class;

/// How calls wait: how many, how long, and whose turn it is.
///
/// The book's chapter on the queue says where each default comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// How many calls may wait, all together. The next one is refused. Default 65,536.
    pub length: usize,
    /// How many of each class, where that is fewer. Default: as many as there is room for.
    pub length_per_class: PerClass<Option<usize>>,
    /// How many of each tenant that has a name, where that is fewer, so that one cannot fill the
    /// queue before the others come. Default a quarter of 65,536.
    pub length_per_tenant: Option<usize>,
    /// How long a call waits for keys, all its attempts together; `None`: as long as its own
    /// deadline allows. Waits before retries do not count. Default 30 s, 2 min, `None`.
    pub max_wait: PerClass<Option<Duration>>,
    /// Which part of the calls that leave the queue is of which class while all classes wait; 0
    /// counts as 1. A class of which nobody waits leaves its part to the others. Default 70, 20,
    /// 10.
    pub weights: PerClass<u32>,
    /// After this long in the queue a call counts as of the next class up, while somebody waits of
    /// a class above, and so on. `None`: never; zero counts as 1 ms. Default 60 s.
    pub ageing: Option<Duration>,
    /// How many calls may be served past one that does not fit, since it is larger. After that,
    /// what is free is left free until it fits, or for [`hold`](Self::hold). 0: nobody passes.
    /// Default 16.
    pub bypass: u32,
    /// How long others are held up for a call that does not fit. Default 60 s: a limit that is
    /// counted by the minute is untouched by then.
    pub hold: Duration,
    /// Whether a call is refused when it comes, with the time to come again, where it would still
    /// wait when its time is over, as far as it can be told from how the queue has moved. Default
    /// true.
    pub refuse_early: bool,
    /// How many tenants are remembered while they have nobody in the queue: the last ones. Default
    /// 1,024.
    pub tenants: usize,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            length: 65_536,
            length_per_class: PerClass::default(),
            length_per_tenant: Some(16_384),
            max_wait: PerClass {
                interactive: Some(Duration::from_secs(30)),
                normal: Some(Duration::from_secs(120)),
                batch: None,
            },
            weights: PerClass {
                interactive: 70,
                normal: 20,
                batch: 10,
            },
            ageing: Some(Duration::from_secs(60)),
            bypass: 16,
            hold: Duration::from_secs(60),
            refuse_early: true,
            tenants: 1_024,
        }
    }
}

/// One value for each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PerClass<T> {
    /// For [`Class::Interactive`].
    pub interactive: T,
    /// For [`Class::Normal`].
    pub normal: T,
    /// For [`Class::Batch`].
    pub batch: T,
}

impl<T> PerClass<T> {
    /// Returns the value for `class`.
    #[must_use]
    pub fn of(&self, class: Class) -> &T {
        match class {
            Class::Interactive => &self.interactive,
            Class::Normal => &self.normal,
            Class::Batch => &self.batch,
        }
    }
}

impl<T: Clone> PerClass<T> {
    /// Returns the same value for all classes.
    #[must_use]
    pub fn all(value: T) -> Self {
        Self {
            interactive: value.clone(),
            normal: value.clone(),
            batch: value,
        }
    }
}

/// For whom a call is made: those who share the keys fairly, by what their calls cost.
///
/// A tenant of weight 2 gets twice what one of weight 1 gets, while both want more than there is.
/// The weight that was named last holds.
///
/// ```
/// use fairkey_strategy::queue::Tenant;
///
/// let tenant = Tenant::new("search-team").weight(2);
/// assert_eq!((tenant.name(), tenant.weight_value().get()), ("search-team", 2));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenant {
    name: Arc<str>,
    weight: NonZeroU32,
}

impl Tenant {
    /// Makes a tenant of weight 1.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            weight: NonZeroU32::MIN,
        }
    }

    /// Sets the weight; 0 counts as 1. Default 1.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = NonZeroU32::new(weight).unwrap_or(NonZeroU32::MIN);
        self
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the weight.
    #[must_use]
    pub fn weight_value(&self) -> NonZeroU32 {
        self.weight
    }

    pub(super) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }
}

impl<N: Into<Arc<str>>> From<N> for Tenant {
    fn from(name: N) -> Self {
        Self::new(name)
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
