# SPDX-License-Identifier: MIT
#
# Models of protocols, in Promela: tests/models/*.pml.
#
#	test-models	every state of each model; and each model once more for each
#			of its switches, which leaves a part out and must be caught
#
# The trail of an error: `spin -t -p tests/models/<model>.pml`, run in the folder
# $(O)/models/<model>-<switch>.

MODELS := $(O)/models
MODEL_span := LOOK_FIRST NO_CLAIM FOLD_FIRST NO_SECOND_LOOK NO_OWNER_CHECK BORN_UNCLAIMED SPARE_UNCLAIMED

# $(1) model, $(2) switch or "whole"
define model
$(MODELS)/$(1)-$(2)/pan: tests/models/$(1).pml tests/models.mk
	$$(call say,SPIN,$(1): $(2))
	$$(Q)mkdir -p $$(@D)
	$$(Q)cd $$(@D) && spin -a -D$(2) $(CURDIR)/$$< > spin.log || { cat spin.log; exit 1; }
	$$(Q)$$(HOST_GCC) -O2 -w -DSAFETY -DCOLLAPSE -o $$@ $$(@D)/pan.c
endef

model_runs := $(foreach m,span,$(m)-whole $(MODEL_$(m):%=$(m)-%))
$(foreach m,span,$(foreach s,whole $(MODEL_$(m)),$(eval $(call model,$(m),$(s)))))

# A whole model must be right, one that lacks something must not be.
.PHONY: test-models
test-models: $(model_runs:%=$(MODELS)/%/pan) ## models of protocols, every state (spin)
	$(Q)passed=0; failed=0; for run in $(model_runs); do \
		cd $(abspath $(MODELS))/$$run && ./pan -m100000 -w22 > pan.log 2>&1; \
		errors=`sed -n 's/.*errors: //p' pan.log`; \
		case $$run in *-whole) good=`[ "$$errors" = 0 ] && echo 1`;; \
			*) good=`[ "$${errors:-0}" -gt 0 ] && echo 1`;; esac; \
		states=`sed -n 's/ *\([0-9]*\) states, stored.*/\1/p' pan.log`; \
		if [ "$$good" ]; then echo "ok $$run: $$states states, $$errors errors"; \
			passed=$$((passed + 1)); \
		else cat pan.log; echo "not ok $$run"; failed=$$((failed + 1)); fi; \
	done; echo "$$passed passed, $$failed failed"; [ $$failed = 0 ]

DEPS += spin
TEST_TARGETS += test-models
