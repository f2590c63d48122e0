add_library(landfall_flags INTERFACE)
target_compile_options(landfall_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor)
if(LANDFALL_SANITIZE)
  # What UBSan finds ends the process: a finding that is only printed fails no test.
  add_compile_options(-fsanitize=${LANDFALL_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${LANDFALL_SANITIZE})
endif()

# One library per top-level folder. HEADERS are its public API and get installed; a .h that is not listed is private to
# the folder. DEPS name only folders below this one, which keeps the graph acyclic.
function(landfall_library name)
  cmake_parse_arguments(arg "" "" "HEADERS;SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(landfall_${name} STATIC ${arg_SOURCES})
  add_library(landfall::${name} ALIAS landfall_${name})
  target_sources(landfall_${name} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${arg_HEADERS})
  target_include_directories(landfall_${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
  target_compile_features(landfall_${name} PUBLIC cxx_std_20)
  target_link_libraries(landfall_${name} PUBLIC ${arg_DEPS}
    PRIVATE ${arg_PRIVATE_DEPS} $<BUILD_INTERFACE:landfall_flags>)
  set_target_properties(landfall_${name} PROPERTIES EXPORT_NAME ${name} VERIFY_INTERFACE_HEADER_SETS ON)
  install(TARGETS landfall_${name} EXPORT landfallTargets
    FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/landfall)
endfunction()

# One test binary per folder of tests/, from every *_test.cc in it (none can be left out) and the other sources beside
# them. LABELS go to ctest.
function(landfall_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "DEPS;LABELS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  if(NOT sources)
    message(WARNING "tests/${name} holds no test yet")
    return()
  endif()
  add_executable(${name}_test ${sources})
  target_link_libraries(${name}_test PRIVATE ${arg_DEPS} GTest::gtest_main landfall_flags)
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  add_test(NAME ${name} COMMAND ${name}_test)
  set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT})
endfunction()
