// Buys, waits and reads with the generated TypeScript client: `node buy.js URL`.

import createClient from "openapi-fetch";
import type { paths } from "./shop_client";

declare const process: { argv: string[] };

const client = createClient<paths>({ baseUrl: process.argv[2] });

function found<T>(data: T | undefined): T {
  if (data === undefined) throw new Error("the API answered with a problem");
  return data;
}

const accepted = await client.POST("/purchases", {
  body: { product_id: "lamp", quantity: 2 },
  params: { header: { "Idempotency-Key": "typescript" } },
});
const request_id = found(accepted.data).request_id;
const purchase = found(
  (
    await client.GET("/purchases/{request_id}", {
      params: { path: { request_id }, query: { wait: 20 } },
    })
  ).data,
);
if (purchase.status !== "confirmed") throw new Error(purchase.failure?.detail);
const order = found(
  (await client.GET("/orders/{order_id}", { params: { path: { order_id: purchase.order_id! } } }))
    .data,
);
const orders = found(
  (await client.GET("/orders", { params: { query: { product_id: "lamp" } } })).data,
);
const product = found(
  (
    await client.GET("/products/{product_id}", {
      params: { path: { product_id: "lamp" }, query: { min_position: order.position } },
    })
  ).data,
);
const refused = await client.POST("/purchases", { body: { product_id: "no such id", quantity: 1 } });
console.log(
  JSON.stringify({
    bought: [purchase.product_id, purchase.quantity, purchase.unit_price_cents],
    total_cents: order.total_cents,
    listed: orders.orders.some((listed) => listed.order_id === order.order_id),
    reserved: product.reserved,
    refused: [refused.response.status, refused.error?.errors?.[0].field],
  }),
);
