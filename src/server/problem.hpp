#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <tidemill/error.hpp>

#include "drivers/http/server.hpp"
#include "wire/json_read.hpp"

namespace tidemill::server {

/// One mistake in what was sent: where it is, as an RFC 6901 pointer, and what would be right.
struct Mistake {
  std::string pointer = {};
  std::string detail = {};
};

/// Why a request was not carried out: an RFC 9457 problem. Programs switch on `code`.
struct Problem {
  int status = 400;
  std::string code = "invalid";
  std::string detail = {};
  std::vector<Mistake> mistakes = {};
  http::Headers headers = {};  ///< That the answer has besides.
  std::size_t column = 0;      ///< Of a text that doesn't read, from 1; zero: none.
};

Problem to_problem(const Error& error);
Problem to_problem(const wire::BadValue& bad);
/// A refusal of the transport: `status` says which.
Problem to_problem(int status, std::string_view why);

inline constexpr std::string_view problem_type = "application/problem+json";
/// Puts the request's id into a problem's body.
void name_request(std::string& body, std::string_view id);

/// The object, as it stands in an answer or in one item of it.
std::string to_json(const Problem& problem);
/// What `code` means, for people; empty when there is no such code.
std::string_view explain(std::string_view code);
/// What whoever gets it can do about it; empty when only the detail says that.
std::string_view hint_for(std::string_view code);
http::Response to_response(const Problem& problem);

}  // namespace tidemill::server
