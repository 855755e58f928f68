-- Plans that mend payloads: each edited payload, frozen, and where it differs.

-- null: the payload as it came in, read otherwise
alter table plan_reading add column payload text;
-- the differences from the payload that it was made of: JSON
alter table plan_reading add column changes text;
