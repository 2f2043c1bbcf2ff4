//! The books of the Stripe stand-in: charges, customers and refunds, and what it refuses.

mod refusal;

pub(super) use refusal::Refusal;

use crate::demo::web;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Charges and customers that are kept; the oldest are dropped first.
const RECORDS_MAX: usize = 10_000;
/// Charges per page when the caller does not say.
const PAGE_DEFAULT: usize = 10;
/// Charges per page at most.
const PAGE_MAX: usize = 100;

type Form = [(String, String)];

/// Records by number; ids are made of the numbers.
#[derive(Default)]
pub(super) struct Ledger {
    charges: BTreeMap<u64, Value>,
    customers: BTreeMap<u64, Value>,
    charged: u64,
    customers_made: u64,
    refunded: u64,
}

impl Ledger {
    /// How many charges were made, ever.
    pub(super) fn charges_made(&self) -> u64 {
        self.charged
    }

    /// Makes a charge from `amount`, `currency` and `source` or `customer`.
    pub(super) fn charge(&mut self, form: &Form, now: u64) -> Result<Value, Refusal> {
        let amount = amount(form)?.ok_or_else(|| Refusal::missing("amount"))?;
        let currency = web::entry(form, "currency").ok_or_else(|| Refusal::missing("currency"))?;
        if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(Refusal::invalid("currency", &format!("Invalid currency: {currency}.")));
        }
        let (source, customer) = (web::entry(form, "source"), web::entry(form, "customer"));
        if source.is_none() && customer.is_none() {
            return Err(Refusal::request("Must provide source or customer."));
        }
        if let Some(customer) = customer {
            self.find_customer(customer)?;
        }
        self.charged += 1;
        let charge = json!({
            "id": format!("ch_demo{}", self.charged),
            "object": "charge",
            "amount": amount,
            "amount_captured": amount,
            "amount_refunded": 0,
            "captured": true,
            "created": now,
            "currency": currency.to_ascii_lowercase(),
            "customer": customer,
            "description": web::entry(form, "description"),
            "livemode": false,
            "metadata": metadata(form),
            "paid": true,
            "refunded": false,
            "status": "succeeded",
        });
        keep(&mut self.charges, self.charged, charge.clone());
        Ok(charge)
    }

    /// Adds a customer.
    pub(super) fn customer(&mut self, form: &Form, now: u64) -> Result<Value, Refusal> {
        self.customers_made += 1;
        let customer = json!({
            "id": format!("cus_demo{}", self.customers_made),
            "object": "customer",
            "created": now,
            "description": web::entry(form, "description"),
            "email": web::entry(form, "email"),
            "livemode": false,
            "metadata": metadata(form),
            "name": web::entry(form, "name"),
        });
        keep(&mut self.customers, self.customers_made, customer.clone());
        Ok(customer)
    }

    /// Gives back a charge, entirely or in part.
    pub(super) fn refund(&mut self, form: &Form, now: u64) -> Result<Value, Refusal> {
        let id = web::entry(form, "charge").ok_or_else(|| Refusal::missing("charge"))?;
        let charge = number(id, "ch_demo")
            .and_then(|number| self.charges.get_mut(&number))
            .ok_or_else(|| Refusal::no_such("charge", id))?;
        let member = |name: &str| charge.get(name).and_then(Value::as_u64).unwrap_or_default();
        let (charged, before) = (member("amount"), member("amount_refunded"));
        let left = charged - before;
        if left == 0 {
            return Err(Refusal::already_refunded(id));
        }
        let back = amount(form)?.unwrap_or(left);
        if back > left {
            let message =
                format!("Refund amount ({back}) is greater than unrefunded amount on charge ({left})");
            return Err(Refusal::invalid("amount", &message));
        }
        if let Some(charge) = charge.as_object_mut() {
            charge.insert("amount_refunded".to_owned(), (before + back).into());
            charge.insert("refunded".to_owned(), (back == left).into());
        }
        self.refunded += 1;
        Ok(json!({
            "id": format!("re_demo{}", self.refunded),
            "object": "refund",
            "amount": back,
            "charge": id,
            "created": now,
            "currency": charge.get("currency"),
            "reason": web::entry(form, "reason"),
            "status": "succeeded",
        }))
    }

    /// A charge by id.
    pub(super) fn find_charge(&self, id: &str) -> Result<Value, Refusal> {
        let found = number(id, "ch_demo").and_then(|number| self.charges.get(&number));
        found.cloned().ok_or_else(|| Refusal::no_such("charge", id))
    }

    /// A customer by id.
    pub(super) fn find_customer(&self, id: &str) -> Result<Value, Refusal> {
        let found = number(id, "cus_demo").and_then(|number| self.customers.get(&number));
        found.cloned().ok_or_else(|| Refusal::no_such("customer", id))
    }

    /// A page of charges, newest first.
    pub(super) fn charges(&self, query: &Form) -> Result<Value, Refusal> {
        let limit = match web::entry(query, "limit") {
            None => PAGE_DEFAULT,
            Some(limit) => limit
                .parse()
                .ok()
                .filter(|limit| (1..=PAGE_MAX).contains(limit))
                .ok_or_else(|| Refusal::invalid("limit", &format!("Invalid limit: {limit}")))?,
        };
        let customer = web::entry(query, "customer");
        let mut matching = self.charges.values().rev().filter(|charge| {
            customer.is_none_or(|id| charge.get("customer").and_then(Value::as_str) == Some(id))
        });
        let data: Vec<&Value> = matching.by_ref().take(limit).collect();
        let has_more = matching.next().is_some();
        Ok(json!({ "object": "list", "data": data, "has_more": has_more, "url": "/v1/charges" }))
    }
}

fn keep(records: &mut BTreeMap<u64, Value>, number: u64, record: Value) {
    records.insert(number, record);
    if records.len() > RECORDS_MAX {
        records.pop_first();
    }
}

fn number(id: &str, prefix: &str) -> Option<u64> {
    id.strip_prefix(prefix)?.parse().ok()
}

fn amount(form: &Form) -> Result<Option<u64>, Refusal> {
    let Some(text) = web::entry(form, "amount") else { return Ok(None) };
    match text.parse() {
        Ok(amount) if amount > 0 => Ok(Some(amount)),
        _ => Err(Refusal::invalid("amount", &format!("Invalid integer: {text}"))),
    }
}

/// `metadata[key]=value` entries.
fn metadata(form: &Form) -> Map<String, Value> {
    form.iter()
        .filter_map(|(name, value)| {
            let key = name.strip_prefix("metadata[")?.strip_suffix(']')?;
            Some((key.to_owned(), value.as_str().into()))
        })
        .collect()
}
