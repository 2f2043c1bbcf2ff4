//! The Stripe stand-in over HTTP.

use super::*;
use crate::demo::{
    client::{self, Reply},
    standin::{CONTROL_PATH, StandIn},
};

const CHARGE: &str = "amount=1250&currency=eur&source=tok_visa&metadata%5Border%5D=7";

async fn start() -> StandIn {
    StandIn::start(Stripe::new("sk", Clock::fixed(1_000_000))).await.unwrap()
}

async fn post(stripe: &StandIn, path: &str, form: &str, key: Option<&str>) -> Reply {
    let mut request = Request::post(path)
        .header("authorization", "Bearer sk")
        .header("content-type", "application/x-www-form-urlencoded");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    client::send(stripe.address(), request.body(form.to_owned().into()).unwrap()).await.unwrap()
}

async fn get(stripe: &StandIn, path: &str) -> Reply {
    client::get(stripe.address(), path, Some("sk")).await.unwrap()
}

async fn charges(stripe: &StandIn) -> Value {
    client::get(stripe.address(), CONTROL_PATH, None).await.unwrap().json()["charges"].clone()
}

#[tokio::test]
async fn the_same_key_never_charges_twice() {
    let stripe = start().await;
    let first = post(&stripe, "/v1/charges", CHARGE, Some("k1")).await;
    let second = post(&stripe, "/v1/charges", CHARGE, Some("k1")).await;
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 200));
    assert_eq!(first.json(), second.json());
    assert_eq!((first.header("idempotent-replayed"), second.header("idempotent-replayed")), ("", "true"));
    assert_eq!(charges(&stripe).await, 1);
    post(&stripe, "/v1/charges", CHARGE, Some("k2")).await;
    post(&stripe, "/v1/charges", CHARGE, None).await;
    assert_eq!(charges(&stripe).await, 3);
}

#[tokio::test]
async fn a_key_used_for_another_request_is_an_idempotency_error() {
    let stripe = start().await;
    post(&stripe, "/v1/charges", CHARGE, Some("k")).await;
    let reply = post(&stripe, "/v1/charges", &CHARGE.replace("1250", "1251"), Some("k")).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]["type"]), (400, &json!("idempotency_error")));
    assert_eq!(charges(&stripe).await, 1);
}

#[tokio::test]
async fn a_charge_whose_answer_got_lost_is_found_again_by_its_key() {
    let stripe = start().await;
    client::post(stripe.address(), CONTROL_PATH, &json!({ "lose_answers": 1 })).await.unwrap();
    let lost = post(&stripe, "/v1/charges", CHARGE, Some("k")).await;
    assert_eq!((lost.status.as_u16(), &lost.json()["error"]["type"]), (500, &json!("api_error")));
    assert_eq!(charges(&stripe).await, 1);
    let found = post(&stripe, "/v1/charges", CHARGE, Some("k")).await;
    assert_eq!((found.status.as_u16(), &found.json()["metadata"]["order"]), (200, &json!("7")));
    assert_eq!(charges(&stripe).await, 1);
}

#[tokio::test]
async fn a_refused_request_may_be_corrected_under_its_key() {
    let stripe = start().await;
    let wrong = post(&stripe, "/v1/charges", "currency=eur&source=tok_visa", Some("k")).await;
    assert_eq!((wrong.status.as_u16(), &wrong.json()["error"]["param"]), (400, &json!("amount")));
    assert_eq!(post(&stripe, "/v1/charges", CHARGE, Some("k")).await.status, 200);
}

#[tokio::test]
async fn charges_are_found_listed_and_refunded() {
    let stripe = start().await;
    let customer = post(&stripe, "/v1/customers", "email=a%40example.com", None).await.json();
    let customer = customer["id"].as_str().unwrap().to_owned();
    let form = format!("amount=500&currency=EUR&customer={customer}");
    let charge = post(&stripe, "/v1/charges", &form, None).await.json();
    assert_eq!((&charge["currency"], &charge["status"]), (&json!("eur"), &json!("succeeded")));
    let id = charge["id"].as_str().unwrap();
    post(&stripe, "/v1/charges", CHARGE, None).await;
    let page = get(&stripe, "/v1/charges?limit=1").await.json();
    assert_eq!((&page["data"][0]["amount"], &page["has_more"]), (&json!(1250), &json!(true)));
    let page = get(&stripe, &format!("/v1/charges?customer={customer}")).await.json();
    assert_eq!((&page["data"][0]["id"], &page["has_more"]), (&json!(id), &json!(false)));
    let refund = post(&stripe, "/v1/refunds", &format!("charge={id}&amount=200"), None).await.json();
    assert_eq!(refund["amount"], 200);
    assert_eq!(post(&stripe, "/v1/refunds", &format!("charge={id}&amount=301"), None).await.status, 400);
    assert_eq!(post(&stripe, "/v1/refunds", &format!("charge={id}"), None).await.json()["amount"], 300);
    assert_eq!(get(&stripe, &format!("/v1/charges/{id}")).await.json()["refunded"], true);
    let again = post(&stripe, "/v1/refunds", &format!("charge={id}"), None).await;
    assert_eq!(again.json()["error"]["code"], "charge_already_refunded");
}

#[tokio::test]
async fn errors_are_stripe_s() {
    let stripe = start().await;
    let reply = client::get(stripe.address(), "/v1/charges", Some("other")).await.unwrap();
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["error"]["type"]),
        (401, &json!("invalid_request_error"))
    );
    let reply = get(&stripe, "/v1/charges/ch_none").await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]["code"]), (404, &json!("resource_missing")));
    assert_eq!(get(&stripe, "/v1/elsewhere").await.status, 404);
    let form = "amount=x&currency=eur&source=tok_visa";
    assert_eq!(post(&stripe, "/v1/charges", form, None).await.json()["error"]["param"], "amount");
    let long = "k".repeat(256);
    assert_eq!(post(&stripe, "/v1/charges", CHARGE, Some(&long)).await.status, 400);
    assert_eq!(charges(&stripe).await, 0);
}
