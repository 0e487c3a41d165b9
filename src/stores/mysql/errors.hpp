#pragma once

#include <string>

#include <tidemill/error.hpp>

#include "drivers/mysql/failure.hpp"

namespace tidemill::mysql_store {

/// The server's refusal, or its silence, in the words of the port. `where` names the place.
Error to_error(const mysql::Failure& failure, const std::string& where);

}  // namespace tidemill::mysql_store
