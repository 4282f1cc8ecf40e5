package io.blockwharf.api.qmp;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * Marks the component of an open union that holds the members of the selected branch. The branches
 * are the option types of the services that are there now (export drivers, block drivers, object
 * types).
 */
@Retention(RetentionPolicy.RUNTIME)
@Target({ElementType.RECORD_COMPONENT})
public @interface Branch {}
