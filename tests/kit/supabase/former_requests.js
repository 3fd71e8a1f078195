// What the former front end asks of Supabase, in its own words; and what this API does not answer.
async ([url, wallet, market]) => {
  const client = supabase.createClient(url, "any text");
  const users = () => client.from("users"), now = new Date().toISOString();
  const told = ({data, error, status}) => ({data, error, status});
  return {
    counted: told(await users().select("count").limit(1)),
    upserted: told(await users().upsert({wallet, last_seen_at: now}, {onConflict: "wallet"}).select().single()),
    listed: told(await users().upsert({wallet, last_seen_at: now}, {onConflict: "wallet"}).select()),
    silent: told(await users().upsert({wallet, last_seen_at: now})),
    seen: told(await users().update({last_seen_at: now}).eq("wallet", wallet)),
    comments: told(await client.from("discussions").select("*").eq("market_id", market).order("created_at", {ascending: false})),
    none: told(await client.from("discussions").select("*").eq("market_id", "0".repeat(64)).order("created_at", {ascending: false})),
    everyone: told(await users().select("*")),
    others: told(await client.from("discussions").select("*").eq("market_id", market).order("upvotes")),
    unknown: told(await client.from("votes").select("*")),
    invalid: told(await users().upsert({wallet: "0OIl"}).select().single()),
  };
}
