# A new file needs no edit anywhere: each folder is globbed.

# tidemill_library(NAME FOLDER LINKS target...): the library tidemill_NAME of all sources of a folder. The public
# headers may be included by everyone; what a library links reaches its users' link line, not their code.
function(tidemill_library name folder)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "LINKS")
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  list(REMOVE_ITEM sources ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/main.cpp)
  add_library(tidemill_${name} STATIC ${sources})
  target_include_directories(tidemill_${name}
    PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    PRIVATE src)
  target_link_libraries(tidemill_${name} PUBLIC ${arg_LINKS} PRIVATE $<BUILD_INTERFACE:tidemill_warnings>)
  tidemill_precompile(tidemill_${name} tidemill_core)
endfunction()

# Shares one precompiled header: the first target makes it, the others use it.
function(tidemill_precompile target first)
  if(NOT TIDEMILL_PCH)
    return()
  endif()
  if(target STREQUAL first)
    target_precompile_headers(${target} PRIVATE
      <algorithm> <chrono> <cstdint> <functional> <map> <memory> <mutex> <optional> <span> <stop_token> <string>
      <string_view> <thread> <vector> <fmt/format.h>)
  else()
    target_precompile_headers(${target} REUSE_FROM ${first})
  endif()
endfunction()

# Each folder below is a program example_FOLDER.
function(tidemill_examples folder)
  file(GLOB places CONFIGURE_DEPENDS ${folder}/*/main.cpp)
  foreach(place ${places})
    cmake_path(GET place PARENT_PATH directory)
    cmake_path(GET directory FILENAME name)
    file(GLOB sources CONFIGURE_DEPENDS ${directory}/*.cpp)
    add_executable(example_${name} ${sources})
    target_link_libraries(example_${name} PRIVATE tidemill tidemill_warnings)
  endforeach()
endfunction()

# The code of the documentation: each file is a program that must compile and link.
function(tidemill_snippets folder)
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  foreach(source ${sources})
    cmake_path(GET source STEM name)
    add_executable(snippet_${name} ${source})
    target_link_libraries(snippet_${name} PRIVATE tidemill tidemill_warnings SQLite::SQLite3)
  endforeach()
endfunction()
