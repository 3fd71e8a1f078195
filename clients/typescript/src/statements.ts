// A vote is a text that anyone can check. Format: docs/votes.md of the backend.

export type Choice = "like" | "dislike" | "agree" | "disagree";

export interface Ballot {
  /** The market's id, 64 hex characters. */
  market: string;
  /** like or dislike a proposal; agree or disagree with a dispute: agree means that the proposed outcome is wrong. */
  choice: Choice;
}

/** Which vote the choice belongs to. */
export function kindOf(choice: Choice): "proposal" | "dispute" {
  return choice === "like" || choice === "dislike" ? "proposal" : "dispute";
}

/** The text that the wallet signs. */
export function voteStatement(ballot: Ballot, program: string, wallet: string, issued: Date): string {
  return [
    "ZMART vote",
    `program: ${program}`,
    `market: ${ballot.market}`,
    `kind: ${kindOf(ballot.choice)}`,
    `choice: ${ballot.choice}`,
    `wallet: ${wallet}`,
    `issued: ${issued.toISOString()}`,
  ].join("\n");
}

