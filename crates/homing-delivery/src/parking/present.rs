//! The deliveries of a list that are parked still.

use super::{Arriving, Entry, Parking, ParkingError, arriving::Patience};
use homing_domain::record::Record;

impl Parking {
    /// The parked deliveries of these records, at most a thousand: the newest of each; of a record
    /// without a delivery, the event that was parked before its fan-out. Waits for what arrives only
    /// where one is not there.
    ///
    /// # Errors
    ///
    /// [`ParkingError`]; it changes nothing. A broker that is away is none.
    pub async fn of_records(
        &self,
        records: &[Record],
    ) -> Result<(Vec<Entry>, Arriving), ParkingError> {
        let mut arriving = Arriving::default();
        let mut found = self.store.parked_of(records).await?;
        if found.len() < records.len() {
            arriving = Box::pin(self.arriving(Patience::Short)).await?;
            found = self.store.parked_of(records).await?;
        }
        Ok((found.into_iter().map(Entry::from).collect(), arriving))
    }
}
